"""``float16``: weights stored in half precision, half the size."""

from __future__ import annotations

from typing import Any

from harness.recipes.recipe import Recipe


def _configure(tf: Any, converter: Any) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


RECIPE = Recipe("float16", "weights in 16-bit floats, arithmetic in float", _configure)
