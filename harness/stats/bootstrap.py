"""Intervals by drawing samples anew, for estimates that are functions of sums over samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

#: Sums over samples (b, k) -> estimates (b,); may give NaN where one is not defined.
Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]

#: Samples drawn in all; with more samples there are fewer replicates.
_DRAWS = 100_000_000

#: Never fewer replicates than this.
_LEAST = 200

#: Counts of samples that are held at a time.
_BLOCK = 4_000_000


def bootstrap_sums(
    columns: NDArray[np.float64],
    statistic: Statistic,
    *,
    replicates: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> tuple[float, float, float]:
    """``statistic`` of the column sums, with the percentile interval of a bootstrap.

    ``columns`` (n, k) has one row per sample; means, ratios of sums and intersections over
    unions are all functions of such sums, so that drawing n samples with replacement is a
    product of counts with the columns. Source: B. Efron and R. J. Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapter 13.

    Returns ``(value, low, high)``. Raises ``ValueError`` without rows or where the estimate
    is not a finite number; replicates for which it is not are left out.
    """
    columns = np.asarray(columns, dtype=np.float64)
    if columns.ndim != 2 or len(columns) == 0:
        raise ValueError("a bootstrap needs at least one sample")
    value = float(statistic(columns.sum(axis=0)[None])[0])
    if not np.isfinite(value):
        raise ValueError("the estimate is not a finite number")
    n = len(columns)
    replicates = max(_LEAST, min(replicates, _DRAWS // n))
    rng = np.random.default_rng(seed)
    at_a_time = max(1, _BLOCK // n)
    found = []
    for begin in range(0, replicates, at_a_time):
        rows = min(at_a_time, replicates - begin)
        found.append(statistic(_counts(rng, rows, n) @ columns))
    estimates = np.concatenate(found)
    estimates = estimates[np.isfinite(estimates)]
    if len(estimates) == 0:
        return value, value, value
    tail = (1 - level) / 2 * 100
    low, high = np.percentile(estimates, [tail, 100 - tail])
    return value, min(float(low), value), max(float(high), value)


def bootstrap_mean_interval(
    values: NDArray[np.float64], *, replicates: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """The mean of ``values`` (n,) with its interval; see :func:`bootstrap_sums`."""
    columns = np.stack([np.asarray(values, dtype=np.float64), np.ones(len(values))], axis=1)
    return bootstrap_sums(
        columns, lambda sums: sums[:, 0] / sums[:, 1], replicates=replicates, seed=seed
    )


def _counts(rng: np.random.Generator, rows: int, n: int) -> NDArray[np.float64]:
    """How often each of n samples is drawn in n draws with replacement, ``rows`` times."""
    drawn = rng.integers(0, n, size=(rows, n)) + np.arange(rows)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
