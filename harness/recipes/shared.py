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
DENSE_PER_CHANNEL = Parameter(
    "dense_per_channel",
    False,
    "the same for dense layers: larger files, and not every runtime has the kernels",
)

#: The 16 steps of int4 are too few to spend on outliers: clipping them wins many points.
ALGORITHM = Parameter(
    "algorithm",
    "octav",
    "how a scale is chosen: octav clips outliers (C. Sakr et al., ICML 2022), min_max keeps them",
    choices=("octav", "min_max"),
)

#: The parameters of a recipe that makes everything an integer.
INTEGER = (CALIBRATION, PER_CHANNEL, DENSE_PER_CHANNEL)


def full_integer(tf: Any, converter: Any, values: Values) -> None:
    """Integer operators only; the caller sets the input's and the output's type."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    per_channel(converter, values)
    if not values.get("dense_per_channel", False):
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True


def per_channel(converter: Any, values: Values) -> None:
    """One scale per tensor where asked; the converter has no public name for it."""
    if not values.get("per_channel", True):
        converter._experimental_disable_per_channel = True


def algorithm(values: Values) -> str:
    """The quantizer's own name of what ``algorithm`` says."""
    return {"octav": "OCTAV", "min_max": "min_max_uniform_quantize"}[str(values["algorithm"])]


def static(quantizer: Any, values: Values, *, activation_bits: int = 8) -> None:
    """Integer weights and activations, the input's and the output's too."""
    from ai_edge_quantizer import qtyping

    fine, coarse = qtyping.QuantGranularity.CHANNELWISE, qtyping.QuantGranularity.TENSORWISE
    for operators, wanted in (
        (qtyping.TFLOperationName.ALL_SUPPORTED, values["per_channel"]),
        (
            qtyping.TFLOperationName.FULLY_CONNECTED,
            values.get("dense_per_channel", values["per_channel"]),
        ),
    ):
        quantizer.add_static_config(".*", operators, activation_bits, 8, fine if wanted else coarse)


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
