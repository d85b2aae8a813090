"""``int8_float_io``: integer operators between a float input and a float output."""

from __future__ import annotations

from typing import Any

from harness.recipes.recipe import Operators, Recipe, Values
from harness.recipes.shared import INTEGER, float_ends, full_integer, static


def _quantize(quantizer: Any, values: Values, _operators: Operators) -> None:
    static(quantizer, values)
    float_ends(quantizer)


RECIPE = Recipe(
    name="int8_float_io",
    summary="integer operators, float input and output",
    parameters=INTEGER,
    convert=full_integer,
    quantize=_quantize,
    needs_calibration=True,
    full_integer=True,
)
