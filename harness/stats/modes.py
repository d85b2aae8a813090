"""Two groups within one set of values, where a single one was expected."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.stats.middle import median

#: More values than this are thinned, evenly in order of size.
_MOST = 512

#: Share of the values that is left out at either end: outliers are no group.
_TRIM = 0.02

#: Values that make a group, at least.
_LEAST = 5


@dataclass(frozen=True, slots=True)
class Groups:
    """Two groups: ``ratio`` of the upper one's median to the lower's, and the ``upper`` share."""

    ratio: float
    upper: float


def two_modes(
    values: NDArray[np.number],
    *,
    least_ratio: float,
    least_share: float,
    valley: float = 0.35,
) -> Groups | None:
    """Two modes of ``values`` (n,), all positive and in the order of time, or ``None``.

    The sorted logarithms are split in two where that explains most of their variance (N. Otsu,
    IEEE Transactions on Systems, Man and Cybernetics 9 (1979) 62; in one dimension this is the
    best of all splits in two, W. D. Fisher, JASA 53 (1958) 789). The parts are modes where

    - their medians differ by the factor ``least_ratio`` or more,
    - the smaller has ``least_share`` of the values or more, and five that are independent: of n
      values in the order of time n (1 - r) / (1 + r) are, r being the lag-1 autocorrelation of
      which part they are in (G. V. Bayley and J. M. Hammersley, Supplement to the JRSS 8 (1946)
      184): a slow wave that lingers here and there has no modes,
    - and there is a valley between them: the density in the middle half of the way from median to
      median is at most ``valley`` of that around the lower of the two. (That a mode is what stands
      out of the valleys beside it, M. C. Minnotte, Annals of Statistics 25 (1997) 1646; halves of
      one normal distribution have a valley of 1.2, of a uniform one 1.0.)

    ``None`` as well for fewer than 20 values, or any that is not positive.
    """
    count = len(values)
    if count < 20:
        return None
    cut = int(count * _TRIM)
    ordered = np.sort(values)[cut : count - cut]
    if ordered[0] <= 0 or ordered[-1] < ordered[0] * least_ratio:
        return None
    if len(ordered) > _MOST:
        ordered = ordered[np.linspace(0, len(ordered) - 1, _MOST).astype(np.intp)]
    logs = np.log(ordered.astype(np.float64))
    n = len(logs)
    size = best_split(logs)
    lower, upper = logs[:size], logs[size:]
    share = (n - size) / n
    if min(share, 1 - share) < max(least_share, _LEAST / count):
        return None
    if _independent(values > ordered[size - 1]) * min(share, 1 - share) < _LEAST:
        return None
    middles = median(lower), median(upper)
    distance = middles[1] - middles[0]
    if distance < math.log(least_ratio):
        return None
    quarter = distance / 4
    between = _within(logs, middles[0] + quarter, middles[1] - quarter) / 2
    around = min(_within(logs, middle - quarter, middle + quarter) / 2 for middle in middles)
    if between > valley * around:
        return None
    return Groups(math.exp(distance), share)


def two_groups(
    values: NDArray[np.float64], *, least_ratio: float, least_share: float, gap: float = 4.0
) -> NDArray[np.bool_] | None:
    """Which of a few ``values`` (n,), all positive, belong to the upper of two groups, or ``None``.

    They are split at the widest gap that leaves ``least_share`` of them, and two, on either side.
    That is where single linkage splits them (J. C. Gower and G. J. S. Ross, Applied Statistics 18
    (1969) 54). They are two groups where that gap is at least the factor ``least_ratio`` and
    ``gap`` pooled standard deviations of the groups. Fewer than 5 values are no two groups.
    """
    n = len(values)
    least = max(2, math.ceil(least_share * n))
    if n < 5 or values.min() <= 0:
        return None
    order = np.argsort(values, kind="stable")
    logs = np.log(values[order])
    gaps = np.diff(logs)[least - 1 : n - least]
    size = int(np.argmax(gaps)) + least
    squares = float(logs[:size].var() * size + logs[size:].var() * (n - size))
    if gaps[size - least] < max(math.log(least_ratio), gap * math.sqrt(squares / (n - 2))):
        return None
    upper = np.zeros(n, dtype=np.bool_)
    upper[order[size:]] = True
    return upper


def best_split(ordered: NDArray[np.float64]) -> int:
    """The size of the lower part of ``ordered`` (n >= 2, sorted) that Otsu's method splits off."""
    n = len(ordered)
    centred = ordered - ordered.mean()
    sums = np.cumsum(centred)[:-1]
    left = np.arange(1, n)
    return int(np.argmax(sums * sums / (left * (n - left)))) + 1


def _independent(above: NDArray[np.bool_]) -> float:
    """How many of these, in the order of time, are as good as independent; at most all."""
    series = above - above.mean()
    power = float(series @ series)
    alike = max(0.0, float(series[1:] @ series[:-1]) / power) if power > 0 else 1.0
    return len(above) * (1 - alike) / (1 + alike)


def _within(ordered: NDArray[np.float64], low: float, high: float) -> float:
    begin, end = np.searchsorted(ordered, [low, high])
    return float(end - begin)
