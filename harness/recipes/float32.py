"""``float32``: the model as trained; the baseline of every comparison."""

from __future__ import annotations

from typing import Any

from harness.recipes.recipe import Recipe


def _configure(tf: Any, converter: Any) -> None:
    del tf
    converter.optimizations = []


RECIPE = Recipe("float32", "weights and arithmetic in 32-bit floats", _configure)
