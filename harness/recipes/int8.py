"""``int8``: full integer, int8 in and out; for integer hardware such as the Edge TPU."""

from __future__ import annotations

from typing import Any

from harness.recipes.recipe import Operators, Recipe, Values
from harness.recipes.shared import INTEGER, full_integer, static


def integers(tf: Any, converter: Any, values: Values) -> None:
    """Integer operators between an int8 input and an int8 output."""
    full_integer(tf, converter, values)
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8


def _quantize(quantizer: Any, values: Values, _operators: Operators) -> None:
    static(quantizer, values)


RECIPE = Recipe(
    name="int8",
    summary="full integer: weights, activations, input and output in int8",
    parameters=INTEGER,
    convert=integers,
    quantize=_quantize,
    needs_calibration=True,
    full_integer=True,
    integer_ends=True,
)
