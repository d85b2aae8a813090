"""``int16x8``: activations in int16, weights in int8; float in and out."""

from __future__ import annotations

from typing import Any

from harness.recipes.recipe import Recipe


def _configure(tf: Any, converter: Any) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]


RECIPE = Recipe(
    "int16x8",
    "activations in int16, weights in int8, float input and output",
    _configure,
    needs_calibration=True,
)
