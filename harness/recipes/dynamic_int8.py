"""``dynamic_int8``: weights in int8, activations quantized on the fly; no calibration."""

from __future__ import annotations

from typing import Any

from harness.recipes.recipe import Recipe


def _configure(tf: Any, converter: Any) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


RECIPE = Recipe("dynamic_int8", "weights in int8, activations scaled at run time", _configure)
