"""``dynamic_int4``: int4 weights, activations quantized while running; no calibration."""

from __future__ import annotations

from typing import Any

from harness.recipes.recipe import Operators, Recipe, Values
from harness.recipes.shared import ALGORITHM, algorithm


def _quantize(quantizer: Any, values: Values, _operators: Operators) -> None:
    from ai_edge_quantizer import qtyping

    quantizer.add_dynamic_config(
        ".*", qtyping.TFLOperationName.ALL_SUPPORTED, 4, algorithm_key=algorithm(values)
    )


RECIPE = Recipe(
    name="dynamic_int4",
    summary="weights in int4, activations quantized at run time",
    parameters=(ALGORITHM,),
    quantize=_quantize,
)
