"""``int8``: full integer, int8 in and out; for integer hardware such as the Edge TPU."""

from __future__ import annotations

from typing import Any

from harness.recipes.recipe import Recipe


def _configure(tf: Any, converter: Any) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8


RECIPE = Recipe(
    "int8",
    "full integer: weights, activations, input and output in int8",
    _configure,
    needs_calibration=True,
    full_integer=True,
)
