"""``qat_int8``: int8 after quantization-aware training, which learns to live with the rounding."""

from __future__ import annotations

from harness.recipes import trained
from harness.recipes.recipe import Parameter, Values


def _train(_values: Values) -> trained.Train:
    from harness.recipes.training import quantize_aware

    return quantize_aware


RECIPE = trained.recipe(
    "qat_int8",
    "int8 after quantization-aware training on the training split",
    (
        Parameter("partial", False, "train what can be quantized, leave other layers in float"),
        Parameter("weight_bits", 8, "fewer than 8: an experiment without a file", 2, 8),
        Parameter("activation_bits", 8, "fewer than 8: an experiment without a file", 2, 8),
    ),
    _train,
)
