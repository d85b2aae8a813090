"""Named conversions: Model -> Variant.

A new recipe is one file with a ``RECIPE`` and one line in ``RECIPES``. ``builder`` makes
variants in processes of their own and keeps them by what determines them; ``worker`` is
that process; ``verify`` loads each variant once, apart from everything else, and computes
the host's reference outputs.
"""

from harness.recipes import as_is, dynamic_int8, float16, float32, int8, int16x8
from harness.recipes.recipe import Recipe

RECIPES: dict[str, Recipe] = {
    "float32": float32.RECIPE,
    "float16": float16.RECIPE,
    "dynamic_int8": dynamic_int8.RECIPE,
    "int8": int8.RECIPE,
    "int16x8": int16x8.RECIPE,
    "as_is": as_is.RECIPE,
}

__all__ = ["RECIPES", "Recipe"]
