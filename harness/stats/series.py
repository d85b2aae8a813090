"""Changes over time within one series: a shift of its level, or a trend.

Samples that follow each other are alike, so that tests made for independent ones see changes
where there are none. Here a series is first cut into blocks, each of which its median stands for:
that takes away outliers and most of the likeness, and bounds the work; what likeness is left
is estimated and widens the noise that a change is held against.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Blocks that a long series is cut into.
MOST_BLOCKS = 32

#: Samples of a block, at least: the median of three has no outlier.
_LEAST_SAMPLES = 3

#: With fewer blocks nothing is said of a series.
_LEAST_BLOCKS = 8

#: Blocks on either side of a shift, at least.
_LEAST_SIDE = 3

#: Likeness of neighbours (lag-1 autocorrelation) that is believed, at most: a series whose blocks
#: are more alike than this is one long wave, of which it holds too little to say anything.
_MOST_ALIKE = 0.9

#: Standard score of the order of blocks from which on they have a trend: chance is below 3 in 1000.
_ORDER = 3.0


@dataclass(frozen=True, slots=True)
class Change:
    """How a series changed: ``ratio`` of its level after to before, or of its end to its begin.

    ``begin`` is the index of the sample from which on a level holds, ``None`` for a trend over
    all of the series. ``score`` is the size of the change in standard errors.
    """

    ratio: float
    begin: int | None
    score: float


def block_medians(values: NDArray[np.number], most: int = MOST_BLOCKS) -> NDArray[np.float64]:
    """Medians of up to ``most`` blocks of equal length, of 3 samples or more, in order.

    Samples of an incomplete last block are left out. Empty for fewer samples than a block has.
    """
    length = max(_LEAST_SAMPLES, math.ceil(len(values) / most))
    count = len(values) // length
    if count == 0:
        return np.empty(0)
    found: NDArray[np.float64] = np.median(values[: count * length].reshape(count, length), axis=1)
    return found


def find_change(
    values: NDArray[np.number], *, least: float, score: float = 7.0, most: int = MOST_BLOCKS
) -> Change | None:
    """A change of ``values`` (n,), all positive, by the share ``least`` or more, or ``None``.

    Shifts of level (:func:`level_shift`) and trends (:func:`trend`) are looked for in the
    logarithms of block medians, so that a change is a ratio. One counts where it is ``score``
    standard errors or more (of few blocks more, since their noise is known less well), and a
    trend only if the order of the blocks says so too. Where both count, the one that leaves less
    unexplained is given.

    ``None`` as well where there are too few samples (24), or any block is not positive.
    """
    levels = block_medians(values, most)
    if len(levels) < _LEAST_BLOCKS or levels.min() <= 0:
        return None
    series = np.log(levels)
    if np.ptp(series) < math.log1p(least):
        return None
    length = max(_LEAST_SAMPLES, math.ceil(len(values) / most))
    wanted = score * (1 + 8 / len(series))
    found: list[tuple[float, Change]] = []
    place, height, size = level_shift(series)
    if abs(height) >= math.log1p(least) and size >= wanted:
        rest = np.concatenate([series[:place] - np.median(series[:place]),
                               series[place:] - np.median(series[place:])])  # fmt: skip
        found.append((_spread(rest), Change(math.exp(height), place * length, size)))
    slope, size, order = trend(series)
    rise = slope * (len(series) - 1)
    if abs(rise) >= math.log1p(least) and size >= wanted and order >= _ORDER:
        rest = series - slope * np.arange(len(series))
        found.append((_spread(rest - np.median(rest)), Change(math.exp(rise), None, size)))
    return min(found, key=lambda item: item[0])[1] if found else None


def level_shift(series: NDArray[np.float64]) -> tuple[int, float, float]:
    """The likeliest shift of the level of a series (n >= 8): where, by how much, how sure.

    By CUSUM (E. S. Page, Biometrika 41 (1954) 100), weighted so that shifts near the ends count
    as much (M. Csörgő and L. Horváth, "Limit Theorems in Change-Point Analysis", 1997, chapter 2).

    Returns ``(place, height, score)``: the index of the first value on the new level, the
    difference of the medians after and before, and the weighted CUSUM there in standard errors.
    These are of the long-run variance of what the two levels leave unexplained, by a first-order
    autoregression (D. W. K. Andrews, Econometrica 59 (1991) 817, section 6).
    """
    n = len(series)
    sums = np.cumsum(series)
    left = np.arange(_LEAST_SIDE, n - _LEAST_SIDE + 1)
    before = sums[left - 1]
    differences = (sums[-1] - before) / (n - left) - before / left
    weighted = np.abs(differences) * np.sqrt(left * (n - left) / n)
    at = int(np.argmax(weighted))
    place = int(left[at])
    rest = series - np.where(np.arange(n) < place, series[:place].mean(), series[place:].mean())
    height = float(np.median(series[place:]) - np.median(series[:place]))
    return place, height, _ratio(float(weighted[at]), math.sqrt(_long_run_variance(rest, 2)))


def trend(series: NDArray[np.float64]) -> tuple[float, float, float]:
    """Theil's and Sen's slope per step of a series (n >= 8), and how sure it is, in two ways.

    The slope is the median of those between all pairs (P. K. Sen, JASA 63 (1968) 1379).

    Returns ``(slope, score, order)``: the slope in standard errors, which are those of a least
    squares slope with the long-run variance of what it leaves unexplained; and the standard score
    of Mann's and Kendall's S, its variance corrected for autocorrelation (K. H. Hamed and
    A. R. Rao, Journal of Hydrology 204 (1998) 182), which looks at the order of values alone.
    """
    n = len(series)
    first, second = np.triu_indices(n, 1)
    differences = series[second] - series[first]
    slope = float(np.median(differences / (second - first)))
    rest = series - slope * np.arange(n)
    rest -= rest.mean()
    error = math.sqrt(_long_run_variance(rest, 2) * 12 / (n * (n * n - 1)))
    total = abs(float(np.sign(differences).sum()))
    ranks = np.argsort(np.argsort(rest, kind="stable")).astype(np.float64)
    ranks -= ranks.mean()
    lags = np.arange(1, n - 3)
    alike = np.correlate(ranks, ranks, "full")[n : n + len(lags)] / float(ranks @ ranks)
    alike = np.where(np.abs(alike) > 1.96 / math.sqrt(n), alike, 0.0)  # what is not chance
    wider = 1 + 2 / (n * (n - 1) * (n - 2)) * float(
        ((n - lags) * (n - lags - 1) * (n - lags - 2)) @ alike
    )
    variance = n * (n - 1) * (2 * n + 5) / 18 * max(1.0, wider)
    return slope, _ratio(abs(slope), error), max(0.0, total - 1) / math.sqrt(variance)


def short_trend(values: NDArray[np.float64], *, least: float, chance: float) -> float | None:
    """The ratio by which a few independent ``values`` (n,), all positive, change, or ``None``.

    By Theil's and Sen's slope of their logarithms, from the first to the last, if that is the
    share ``least`` or more and the two-sided t-test of the least squares slope gives it a smaller
    ``chance``. (A test of the order alone cannot: of five values, one order in 60 is a trend.)
    ``None`` as well for fewer than 5 values.
    """
    n = len(values)
    if n < 5 or values.min() <= 0:
        return None
    series = np.log(values)
    first, second = np.triu_indices(n, 1)
    slope = float(np.median((series[second] - series[first]) / (second - first)))
    if abs(slope) * (n - 1) < math.log1p(least):
        return None
    steps = np.arange(n) - (n - 1) / 2
    straight = float(steps @ series / (steps @ steps))
    rest = series - series.mean() - straight * steps
    error = math.sqrt(float(rest @ rest) / (n - 2) / float(steps @ steps))
    from scipy.special import stdtr  # takes longer to import than most jobs to check

    if 2 * float(stdtr(n - 2, -_ratio(abs(straight), error))) > chance:
        return None
    return math.exp(slope * (n - 1))


def level_error(values: NDArray[np.number], most: int = MOST_BLOCKS) -> float | None:
    """The standard error of the median of ``values`` (n,), all positive, as a share of it.

    By the long-run variance of logarithms of block medians, so that autocorrelation counts.
    ``None`` where there are fewer than 8 blocks, or one is not positive.
    """
    levels = block_medians(values, most)
    if len(levels) < _LEAST_BLOCKS or levels.min() <= 0:
        return None
    series = np.log(levels)
    return math.sqrt(_long_run_variance(series - series.mean(), 1) / len(series))


def _long_run_variance(rest: NDArray[np.float64], removed: int) -> float:
    """Of residuals, ``removed`` parameters having been taken out; times n it is that of the sum."""
    n = len(rest)
    power = float(rest @ rest)
    if power <= 0:
        return 0.0
    alike = float(rest[1:] @ rest[:-1]) / power
    # Taking out means makes neighbours seem less alike (M. G. Kendall, Biometrika 41 (1954) 403).
    alike = min(_MOST_ALIKE, max(0.0, alike + (removed + 4 * max(0.0, alike)) / n))
    return power / (n - removed) * (1 + alike) / (1 - alike)


def _spread(rest: NDArray[np.float64]) -> float:
    return float(np.abs(rest).mean())


def _ratio(value: float, error: float) -> float:
    if error > 0:
        return value / error
    return math.inf if value > 0 else 0.0
