"""``weight_only_int4``: int4 weights, float arithmetic; an eighth of the size."""

from __future__ import annotations

from typing import Any

from harness.recipes.recipe import Operators, Recipe, Values
from harness.recipes.shared import ALGORITHM, algorithm


def _quantize(quantizer: Any, values: Values, _operators: Operators) -> None:
    from ai_edge_quantizer import qtyping

    quantizer.add_weight_only_config(
        ".*", qtyping.TFLOperationName.ALL_SUPPORTED, 4, algorithm_key=algorithm(values)
    )


RECIPE = Recipe(
    name="weight_only_int4",
    summary="weights in int4, widened to float before each operator",
    parameters=(ALGORITHM,),
    quantize=_quantize,
)
