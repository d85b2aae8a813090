"""``float32``: the model as it was trained; the baseline of every comparison."""

from __future__ import annotations

from typing import Any

from harness.recipes.recipe import Recipe, Values


def _convert(_tf: Any, _converter: Any, _values: Values) -> None:
    """The converter's defaults are float32."""


RECIPE = Recipe(name="float32", summary="weights and arithmetic in 32-bit floats", convert=_convert)
