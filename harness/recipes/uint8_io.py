"""``uint8_io``: full integer with uint8 input and output, as cameras and older apps have them."""

from __future__ import annotations

from typing import Any

from harness.recipes.recipe import Recipe, Values
from harness.recipes.shared import INTEGER, full_integer


def _convert(tf: Any, converter: Any, values: Values) -> None:
    full_integer(tf, converter, values)
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8


RECIPE = Recipe(
    name="uint8_io",
    summary="full integer: int8 inside, input and output in uint8",
    parameters=INTEGER,
    convert=_convert,
    needs_calibration=True,
    full_integer=True,
    integer_ends=True,
)
