"""Named conversions: Model -> Variant.

A new recipe is one file with a ``RECIPE`` and one line in ``RECIPES``. ``builder`` makes
variants in processes of their own and keeps them by what determines them; ``process`` starts
``worker``, which is that process; ``conversion`` is what happens in it. ``verify`` loads each
variant once, apart from everything else, and computes the host's reference outputs.
"""

from collections.abc import Mapping
from typing import Any

from harness.recipes import (
    as_is,
    clustered_int8,
    dynamic_int4,
    dynamic_int8,
    edgetpu,
    float16,
    float32,
    int8,
    int8_float_io,
    int8_selective,
    int16x8,
    pruned_int8,
    qat_int8,
    recipe,
    uint8_io,
    weight_only_int4,
    weight_only_int8,
)
from harness.recipes.recipe import ChosenRecipe, Recipe

RECIPES: dict[str, Recipe] = {
    "float32": float32.RECIPE,
    "float16": float16.RECIPE,
    "dynamic_int8": dynamic_int8.RECIPE,
    "int8": int8.RECIPE,
    "uint8_io": uint8_io.RECIPE,
    "int8_float_io": int8_float_io.RECIPE,
    "int16x8": int16x8.RECIPE,
    "weight_only_int8": weight_only_int8.RECIPE,
    "weight_only_int4": weight_only_int4.RECIPE,
    "dynamic_int4": dynamic_int4.RECIPE,
    "int8_selective": int8_selective.RECIPE,
    "qat_int8": qat_int8.RECIPE,
    "pruned_int8": pruned_int8.RECIPE,
    "clustered_int8": clustered_int8.RECIPE,
    "edgetpu": edgetpu.RECIPE,
    "as_is": as_is.RECIPE,
}


def parse_recipe(value: str | Mapping[str, Any]) -> ChosenRecipe:
    """A recipe with its parameters, from text or a table; raises ``UsageError``."""
    return recipe.parse(value, RECIPES)


__all__ = ["RECIPES", "ChosenRecipe", "Recipe", "parse_recipe"]
