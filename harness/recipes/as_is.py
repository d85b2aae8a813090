"""``as_is``: a ready ``.tflite`` file, deployed byte for byte."""

from __future__ import annotations

from harness.recipes.recipe import Recipe

RECIPE = Recipe(name="as_is", summary="a ready .tflite file, unchanged")
