"""``weight_only_int8``: int8 weights, float arithmetic; small without int8's loss."""

from __future__ import annotations

from typing import Any

from harness.recipes.recipe import Operators, Recipe, Values


def _quantize(quantizer: Any, _values: Values, _operators: Operators) -> None:
    from ai_edge_quantizer import qtyping

    quantizer.add_weight_only_config(".*", qtyping.TFLOperationName.ALL_SUPPORTED, 8)


RECIPE = Recipe(
    name="weight_only_int8",
    summary="weights in int8, widened to float before each operator",
    quantize=_quantize,
)
