"""``pruned_int8``: the smallest weights set to zero while fine-tuning, then int8.

The file is as large as that of ``int8``; what shrinks is its download: see ``gzip_bytes``.
"""

from __future__ import annotations

from functools import partial

from harness.recipes import trained
from harness.recipes.recipe import Parameter, Values


def _train(values: Values) -> trained.Train:
    from harness.recipes.training import prune

    return partial(prune, sparsity=values["sparsity"], qat=values["qat"])


RECIPE = trained.recipe(
    "pruned_int8",
    "int8 with a share of the weights pruned to zero; smaller when compressed",
    (
        Parameter("sparsity", 0.5, "share of the weights that become zero", 0.01, 0.99),
        trained.QAT,
    ),
    _train,
)
