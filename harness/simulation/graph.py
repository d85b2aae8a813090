"""Reading a ``.tflite`` graph: operators, types, multiply-accumulates and bytes.

The format is the TensorFlow Lite flatbuffer schema; the generated reader comes with the
LiteRT package. Every offset in a foreign file may lie: whatever the reader stumbles over
becomes a ``ModelError``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from harness.errors import ModelError

#: Bytes per element of the schema's TensorType values.
_TYPE_NAMES = {
    0: ("float32", 4),
    1: ("float16", 2),
    2: ("int32", 4),
    3: ("uint8", 1),
    4: ("int64", 8),
    6: ("bool", 1),
    7: ("int16", 2),
    9: ("int8", 1),
    16: ("uint16", 2),
    17: ("int4", 1),
}

#: Operators that keep state between inferences outside of variable tensors.
_STATEFUL = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"}

#: More than this in one file is damage, not a model.
_MAX_ITEMS = 1_000_000


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: schema name, activation type, cost.

    ``activation`` and ``weight`` are NumPy-like type names (``weight`` empty without one);
    ``macs`` multiply-accumulates; ``weight_bytes`` and ``activation_bytes`` what it reads
    and writes.
    """

    name: str
    activation: str
    weight: str
    macs: int
    weight_bytes: int
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class Graph:
    """The main subgraph of a file."""

    operators: tuple[Operator, ...]
    input_bytes: int
    output_bytes: int
    weight_bytes: int
    peak_activation_bytes: int
    stateful: bool

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(operator.macs for operator in self.operators)

    @property
    def full_integer(self) -> bool:
        """Whether every operator works on 8-bit integers (plain int32 index math aside)."""
        return all(op.activation in {"int8", "uint8", "int32", "bool"} for op in self.operators)

    @property
    def integer16_activations(self) -> bool:
        """Whether any operator works on 16-bit integer activations."""
        return any(op.activation == "int16" for op in self.operators)


def read_graph(path: Path) -> Graph:
    """The main subgraph of a ``.tflite`` file; raises ``ModelError`` for a damaged one."""
    data = path.read_bytes()
    try:
        return _read(data)
    except ModelError:
        raise
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError):
        raise ModelError(
            f"damaged or truncated: its {len(data):,} bytes do not hold a whole model",
            hint="copy or convert the model again",
        ) from None


def _read(data: bytes) -> Graph:
    from ai_edge_litert import schema_py_generated as tfl

    model = tfl.Model.GetRootAs(data, 0)
    if not 1 <= model.SubgraphsLength() <= _MAX_ITEMS:
        raise ModelError("the file holds no graph")
    buffers = [_buffer_size(model, index, len(data)) for index in range(model.BuffersLength())]
    subgraph = model.Subgraphs(0)
    count = subgraph.TensorsLength()
    if not 0 < count <= _MAX_ITEMS or subgraph.OperatorsLength() > _MAX_ITEMS:
        raise ModelError("the graph holds no tensors")
    tensors = [_tensor(subgraph.Tensors(index), buffers) for index in range(count)]
    names = _builtin_names()
    codes = [
        _code_name(model.OperatorCodes(index), names)
        for index in range(model.OperatorCodesLength())
    ]
    operators = []
    for index in range(subgraph.OperatorsLength()):
        operator = subgraph.Operators(index)
        inputs = [operator.Inputs(i) for i in range(operator.InputsLength())]
        outputs = [operator.Outputs(i) for i in range(operator.OutputsLength())]
        used = [tensors[i] for i in inputs if i >= 0]
        made = [tensors[i] for i in outputs if i >= 0]
        operators.append(_operator(codes[operator.OpcodeIndex()], used, made))
    return Graph(
        operators=tuple(operators),
        input_bytes=sum(tensors[subgraph.Inputs(i)].bytes for i in range(subgraph.InputsLength())),
        output_bytes=sum(
            tensors[subgraph.Outputs(i)].bytes for i in range(subgraph.OutputsLength())
        ),
        weight_bytes=sum(tensor.constant_bytes for tensor in tensors),
        stateful=any(subgraph.Tensors(index).IsVariable() for index in range(count))
        or any(operator.name in _STATEFUL for operator in operators),
        peak_activation_bytes=max((op.activation_bytes for op in operators), default=0),
    )


@dataclass(frozen=True, slots=True)
class _Tensor:
    shape: tuple[int, ...]
    dtype: str
    bytes: int
    constant_bytes: int


def _tensor(tensor: Any, buffers: Sequence[int]) -> _Tensor:
    shape = tuple(int(tensor.Shape(i)) for i in range(tensor.ShapeLength()))
    name, width = _TYPE_NAMES.get(tensor.Type(), ("other", 4))
    constant = buffers[tensor.Buffer()]
    size = prod(max(1, extent) for extent in shape) * width
    return _Tensor(shape, name, constant or size, constant)


def _buffer_size(model: Any, index: int, file_size: int) -> int:
    buffer = model.Buffers(index)
    size = int(buffer.DataLength()) or int(buffer.Size())
    # A vector that ends beyond the file is the commonest trace of a truncated copy.
    if size:
        start = buffer._tab.Offset(4)
        if start:
            begin = buffer._tab.Vector(start)
            if begin + size > file_size:
                raise ModelError(
                    f"truncated: weights end at byte {begin + size:,} of {file_size:,}",
                    hint="copy or convert the model again",
                )
        elif int(buffer.Offset()) + size > file_size:
            raise ModelError(
                f"truncated: weights end beyond its {file_size:,} bytes",
                hint="copy or convert the model again",
            )
    return size


def _operator(name: str, inputs: Sequence[_Tensor], outputs: Sequence[_Tensor]) -> Operator:
    weights = [tensor for tensor in inputs if tensor.constant_bytes]
    activations = [tensor for tensor in inputs if not tensor.constant_bytes] + list(outputs)
    weight = weights[0] if weights else None
    out = prod(max(1, extent) for extent in outputs[0].shape) if outputs else 0
    macs = 0
    if weight is not None and len(weight.shape) >= 2 and outputs:
        if name == "CONV_2D":
            macs = out * prod(weight.shape[1:])
        elif name == "DEPTHWISE_CONV_2D":
            macs = out * prod(weight.shape[1:3])
        elif name == "FULLY_CONNECTED":
            macs = out * weight.shape[-1]
        elif name == "TRANSPOSE_CONV":
            source = activations[0].shape if activations else ()
            macs = prod(max(1, extent) for extent in source) * prod(weight.shape[:3])
    return Operator(
        name=name,
        activation=outputs[0].dtype if outputs else "other",
        weight=weight.dtype if weight is not None else "",
        macs=macs,
        weight_bytes=sum(tensor.constant_bytes for tensor in weights),
        activation_bytes=sum(tensor.bytes for tensor in activations),
    )


@cache
def _builtin_names() -> dict[int, str]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    return {value: name for name, value in vars(BuiltinOperator).items() if isinstance(value, int)}


def _code_name(code: Any, names: dict[int, str]) -> str:
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if names.get(number) == "CUSTOM":
        custom = code.CustomCode()
        return (custom or b"custom").decode("utf-8", "replace")[:100]
    return names.get(number, f"BUILTIN_{number}")
