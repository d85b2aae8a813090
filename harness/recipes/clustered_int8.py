"""``clustered_int8``: the weights of each layer share a few values, then int8.

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
    from harness.recipes.training import cluster

    def clustered(model: Any, data: Any, settings: Any, told: Any) -> Any:
        return cluster(
            model,
            data,
            settings,
            clusters=int(str(values["clusters"])),
            tell=told,
            qat=bool(values["qat"]),
        )

    return trained.run(source, request, values, tell, clustered)


RECIPE = Recipe(
    name="clustered_int8",
    summary="int8 with few distinct weights per layer; smaller when compressed",
    parameters=(
        Parameter("clusters", 16, "distinct weights per layer", 2, 256),
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
