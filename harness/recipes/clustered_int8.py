"""``clustered_int8``: the weights of each layer share a few values, then int8.

The file is as large as that of ``int8``; what shrinks is its download: see ``gzip_bytes``.
"""

from __future__ import annotations

from functools import partial

from harness.recipes import trained
from harness.recipes.recipe import Parameter, Values


def _train(values: Values) -> trained.Train:
    from harness.recipes.training import cluster

    return partial(cluster, clusters=values["clusters"], qat=values["qat"])


RECIPE = trained.recipe(
    "clustered_int8",
    "int8 with few distinct weights per layer; smaller when compressed",
    (
        Parameter("clusters", 16, "distinct weights per layer", 2, 256),
        trained.QAT,
    ),
    _train,
)
