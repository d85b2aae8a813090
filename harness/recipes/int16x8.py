"""``int16x8``: activations in int16, weights in int8; float in and out."""

from __future__ import annotations

from typing import Any

from harness.recipes.recipe import Operators, Recipe, Values
from harness.recipes.shared import CALIBRATION, PER_CHANNEL, float_ends, per_channel, static


def _convert(tf: Any, converter: Any, values: Values) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]
    per_channel(converter, values)


def _quantize(quantizer: Any, values: Values, _operators: Operators) -> None:
    static(quantizer, values, activation_bits=16)
    float_ends(quantizer)


RECIPE = Recipe(
    name="int16x8",
    summary="activations in int16, weights in int8, float input and output",
    parameters=(CALIBRATION, PER_CHANNEL),
    convert=_convert,
    quantize=_quantize,
    needs_calibration=True,
)
