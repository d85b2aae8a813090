"""``pruned_int8``: the smallest weights set to zero while fine-tuning, then int8.

The file is as large as that of ``int8``; what shrinks is its download: see ``gzip_bytes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.models import Source
from harness.recipes import trained
from harness.recipes.recipe import Parameter, Recipe, Values
from harness.recipes.shared import CALIBRATION


def _train(source: Source, request: Mapping[str, Any], values: Values, tell: Any) -> Any:
    from harness.recipes.training import prune

    def pruned(model: Any, data: Any, settings: Any, told: Any) -> Any:
        return prune(
            model,
            data,
            settings,
            sparsity=float(str(values["sparsity"])),
            tell=told,
            qat=bool(values["qat"]),
        )

    return trained.run(source, request, values, tell, pruned)


RECIPE = Recipe(
    name="pruned_int8",
    summary="int8 with a share of the weights pruned to zero; smaller when compressed",
    parameters=(
        Parameter("sparsity", 0.5, "share of the weights that become zero", 0.01, 0.99),
        trained.QAT,
        *trained.TRAINING,
        CALIBRATION,
    ),
    convert=trained.convert,
    train=_train,
    needs_calibration=True,
    full_integer=True,
    integer_ends=True,
)
