"""Where the level of a series changes: found by one method, confirmed by another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.stats.ranking import midranks

#: Fewer values than this on a side of a change are an outlier, not a level.
LEAST_SIDE = 2

#: Fewer values than this in all, and no test can confirm anything: of the ways to put seven
#: values into 3 and 4, two in 35 are as marked as the clearest change (0.057), of eight into 4
#: and 4 two in 70 (0.029).
LEAST_VALUES = 8

_PERMUTATIONS = 4999


@dataclass(frozen=True, slots=True)
class Split:
    """A change between the values ``at - 1`` and ``at``, and how likely it is by chance."""

    at: int
    p: float


def splits(
    values: Sequence[float] | NDArray[np.float64], *, level: float = 0.05, seed: int = 0
) -> list[Split]:
    """Changes of level in a series of independent values (n,), the unlikely ones last decided.

    Candidates are the optimal segmentation by least squares, the noise estimated from the
    differences of neighbours and outliers cut off at five of it, with the penalty ``3 log n``
    (R. Killick, P. Fearnhead and I. A. Eckley, "Optimal detection of changepoints with a linear
    computational cost", JASA 107 (2012); the package ``ruptures``: C. Truong, L. Oudre and N.
    Vayatis, Signal Processing 167 (2020)). Each candidate is then tested between its
    neighbours, its p multiplied by the number of candidates; while one is above ``level``, the
    worst is dropped and the rest tested anew, so that what is returned either has ``p <=
    level`` or is the last one that was dropped.

    Empty for fewer than ``LEAST_VALUES`` values or constant ones. Raises ``ValueError`` for
    values that are not finite.
    """
    series = np.asarray(values, dtype=np.float64)
    if not np.isfinite(series).all():
        raise ValueError("the values of a series must be finite")
    if len(series) < LEAST_VALUES or (series == series[0]).all():
        return []
    found = _candidates(series)
    dropped: list[Split] = []
    while found:
        ends = [0, *found, len(series)]
        tested = []
        for index, at in enumerate(found):
            window = series[ends[index] : ends[index + 2]]
            p = len(found) * split_p(window, at - ends[index], seed=seed)
            tested.append(Split(at, min(1.0, p)))
        worst = max(tested, key=lambda split: split.p)
        if worst.p <= level:
            return tested
        dropped = [worst]
        found = [at for at in found if at != worst.at]
    return dropped


def split_p(window: NDArray[np.float64], at: int, *, seed: int = 0) -> float:
    """How often chance alone makes some split of ``window`` (n,) as marked as that at ``at``.

    A permutation test of the largest standardized rank sum over all splits with at least
    ``LEAST_SIDE`` values a side, so that having chosen the best split is paid for (A. N.
    Pettitt, "A non-parametric approach to the change-point problem", Applied Statistics 28
    (1979), by permutation as in N. A. James and D. S. Matteson, J. Statistical Software 62
    (2014)). It needs that the values are independent of each other.
    """
    ranks = midranks(window)
    spread = ranks.std(ddof=1)
    if spread == 0:
        return 1.0
    rng = np.random.default_rng(seed)
    scores = (ranks - ranks.mean()) / spread
    observed = _marked(scores[None])[0, at - LEAST_SIDE]
    drawn = rng.permuted(np.broadcast_to(scores, (_PERMUTATIONS, len(scores))), axis=1)
    as_marked = _marked(drawn).max(axis=1) >= observed - 1e-9
    return float((1 + as_marked.sum()) / (1 + _PERMUTATIONS))


def _marked(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of standardized scores (b, n) -> how marked each allowed split of them is."""
    n = scores.shape[1]
    left = np.arange(LEAST_SIDE, n - LEAST_SIDE + 1)
    sums = np.cumsum(scores, axis=1)[:, left - 1]
    marked: NDArray[np.float64] = np.abs(sums) / np.sqrt(left * (n - left) / n)
    return marked


def _candidates(series: NDArray[np.float64]) -> list[int]:
    import ruptures  # only a history pays for importing it

    noise = _spread(np.diff(series)) / math.sqrt(2) or 0.1 * float(series.std())
    middle, wide = float(np.median(series)), 5 * max(noise, _spread(series))
    scores = (np.clip(series, middle - wide, middle + wide) - middle) / noise
    search = ruptures.KernelCPD(kernel="linear", min_size=LEAST_SIDE).fit(scores[:, None])
    ends = search.predict(pen=3 * math.log(len(series)))
    return [int(at) for at in ends[:-1]]


def _spread(values: NDArray[np.float64]) -> float:
    """The standard deviation of normal values, from the median absolute deviation."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
