"""``dynamic_int8``: int8 weights, activations quantized while running; no calibration."""

from __future__ import annotations

from typing import Any

from harness.recipes.recipe import Operators, Recipe, Values
from harness.recipes.shared import PER_CHANNEL, per_channel


def _convert(tf: Any, converter: Any, values: Values) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    per_channel(converter, values)


def _quantize(quantizer: Any, values: Values, _operators: Operators) -> None:
    from ai_edge_quantizer import qtyping

    granularity = qtyping.QuantGranularity
    quantizer.add_dynamic_config(
        ".*",
        qtyping.TFLOperationName.ALL_SUPPORTED,
        8,
        granularity.CHANNELWISE if values["per_channel"] else granularity.TENSORWISE,
    )


RECIPE = Recipe(
    name="dynamic_int8",
    summary="weights in int8, activations quantized at run time",
    parameters=(PER_CHANNEL,),
    convert=_convert,
    quantize=_quantize,
)
