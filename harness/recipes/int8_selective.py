"""``int8_selective``: integer operators but for some that stay in float."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.errors import ConversionError, suggest
from harness.recipes.recipe import Operators, Parameter, Recipe, Values
from harness.recipes.shared import INTEGER, keep_float, static


def choose(wanted: Sequence[str], operators: Operators) -> list[str]:
    """The output names of the ``operators`` (type, output name) that ``wanted`` names.

    A name is an operator type (``CONV_2D``), an output tensor's whole name, or a layer: a
    part of that name between slashes or semicolons. Raises ``ConversionError`` for a name
    that fits nothing.
    """
    chosen: dict[str, None] = {}
    for name in wanted:
        fitting = [
            output
            for kind, output in operators
            if name in (kind, output) or name in output.replace(";", "/").split("/")
        ]
        if not fitting:
            raise ConversionError(
                f"keep_float names {name!r}, and the model has no such operator or layer",
                hint=suggest(name, (item for pair in operators for item in pair)),
            )
        chosen.update(dict.fromkeys(fitting))
    return list(chosen)


def _quantize(quantizer: Any, values: Values, operators: Operators) -> None:
    static(quantizer, values)
    wanted = values["keep_float"]
    if not wanted:
        raise ConversionError(
            "int8_selective needs the names of what stays in float",
            hint='int8_selective(keep_float=["layer"]); harness debug finds them',
        )
    keep_float(quantizer, choose(wanted, operators))


RECIPE = Recipe(
    name="int8_selective",
    summary="int8, but the named operators or layers stay in float",
    parameters=(
        Parameter("keep_float", (), "operator types, layers or output tensors that stay in float"),
        *INTEGER,
    ),
    quantize=_quantize,
    needs_calibration=True,
)
