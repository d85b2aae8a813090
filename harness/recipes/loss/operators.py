"""The operators of a float file and of its quantized variant, side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.errors import ConversionError

#: Operators that only carry values between types; a quantized file has more of them.
_CASTS = {"QUANTIZE", "DEQUANTIZE"}


@dataclass(frozen=True, slots=True)
class Pair:
    """One operator in both files: ``index`` counts those of the float file.

    ``name`` is the tensor that it makes, as the float file calls it; ``layer`` the shortest
    name that ``keep_float`` understands. ``float_operator`` and ``quantized_operator`` are
    objects of the schema.
    """

    index: int
    kind: str
    name: str
    layer: str
    float_operator: Any
    quantized_operator: Any


def load(content: bytes) -> Any:
    """The schema's objects of a whole file."""
    from ai_edge_litert import schema_py_generated as schema

    return schema.ModelT.InitFromPackedBuf(content, 0)


def kind_of(model: Any, operator: Any) -> str:
    """An operator's name in the schema."""
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return _names().get(number, str(number))


@cache
def _names() -> dict[int, str]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    return {value: name for name, value in vars(BuiltinOperator).items() if isinstance(value, int)}


def output_name(model: Any, operator: Any) -> str:
    """The name of the first tensor that an operator of the main graph makes."""
    tensors = model.subgraphs[0].tensors
    name: bytes = tensors[operator.outputs[0]].name
    return name.decode("utf-8", "replace")


def pair(float_model: Any, quantized_model: Any) -> list[Pair]:
    """The computing operators of both, in order; raises ``ConversionError`` where they differ."""
    both = [
        [item for item in model.subgraphs[0].operators if kind_of(model, item) not in _CASTS]
        for model in (float_model, quantized_model)
    ]
    kinds = [
        [kind_of(model, item) for item in operators]
        for model, operators in zip((float_model, quantized_model), both, strict=True)
    ]
    if kinds[0] != kinds[1]:
        at = next(
            (i for i, (a, b) in enumerate(zip(*kinds, strict=False)) if a != b),
            min(map(len, kinds)),
        )
        raise ConversionError(
            f"the quantized file has other operators than the float one: they part at operator "
            f"{at} ({len(kinds[0])} and {len(kinds[1])} operators)",
            hint="the converter fused them otherwise; debug int8_selective or weight_only_int8, "
            "which keep the float file's operators",
        )
    names = [output_name(float_model, operator) for operator in both[0]]
    layers = short_names(names)
    return [
        Pair(index, *parts)
        for index, parts in enumerate(zip(kinds[0], names, layers, *both, strict=True))
    ]


def short_names(names: Sequence[str]) -> list[str]:
    """For each output name the layer in it that no other has, else the whole name.

    A converter joins the layers that it fused: ``model/relu/Relu;model/conv/Conv2D``. The last
    one is the layer with the weights; layers begin with a small letter, TensorFlow's own
    operators with a capital.
    """
    parts = [name.replace(";", "/").split("/") for name in names]
    counts = Counter(part for found in parts for part in set(found))
    short = []
    for name, found in zip(names, parts, strict=True):
        own = [part for part in found if counts[part] == 1 and part[:1].islower()]
        short.append(own[-1] if own else name)
    return short
