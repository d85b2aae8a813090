"""``qat_int8``: int8 after quantization-aware training, which learns to live with the rounding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.models import Source
from harness.recipes import trained
from harness.recipes.recipe import Parameter, Recipe, Values
from harness.recipes.shared import CALIBRATION


def _train(source: Source, request: Mapping[str, Any], values: Values, tell: Any) -> Any:
    from harness.recipes.training import quantize_aware

    return trained.run(source, request, values, tell, quantize_aware)


RECIPE = Recipe(
    name="qat_int8",
    summary="int8 after quantization-aware training on the training split",
    parameters=(
        *trained.TRAINING,
        Parameter("partial", False, "train what can be quantized, leave other layers in float"),
        Parameter("weight_bits", 8, "fewer than 8: an experiment without a file", 2, 8),
        Parameter("activation_bits", 8, "fewer than 8: an experiment without a file", 2, 8),
        CALIBRATION,
    ),
    convert=trained.convert,
    train=_train,
    needs_calibration=True,
    full_integer=True,
    integer_ends=True,
)
