"""Parameters and settings that several recipes share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from harness.recipes.recipe import Parameter, Values

CALIBRATION = Parameter(
    "calibration", 200, "samples of the calibration split that set the ranges", 1, 100_000
)
PER_CHANNEL = Parameter(
    "per_channel", True, "one weight scale per output channel instead of one per tensor"
)


def full_integer(tf: Any, converter: Any, values: Values) -> None:
    """Integer operators only; the caller sets the input's and the output's type."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    per_channel(converter, values)


def per_channel(converter: Any, values: Values) -> None:
    """One scale per tensor where asked; the converter has no public name for it."""
    if not values["per_channel"]:
        converter._experimental_disable_per_channel = True
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True


def static(quantizer: Any, values: Values, *, activation_bits: int = 8) -> None:
    """Integer weights and activations, the input's and the output's too."""
    from ai_edge_quantizer import qtyping

    granularity = qtyping.QuantGranularity
    quantizer.add_static_config(
        ".*",
        qtyping.TFLOperationName.ALL_SUPPORTED,
        activation_bits,
        8,
        granularity.CHANNELWISE if values["per_channel"] else granularity.TENSORWISE,
    )


def keep_float(quantizer: Any, outputs: Iterable[str]) -> None:
    """The operators that make these tensors stay in float; names as in the file."""
    from ai_edge_quantizer import qtyping

    for name in outputs:
        quantizer.update_quantization_recipe(
            f"^{re.escape(name)};?$", qtyping.TFLOperationName.ALL_SUPPORTED,
            algorithm_key="no_quantize",
        )  # fmt: skip


def float_ends(quantizer: Any) -> None:
    """Float input and output around integer operators."""
    from ai_edge_quantizer import qtyping

    for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        quantizer.update_quantization_recipe(".*", end, algorithm_key="no_quantize")
