"""Two groups compared: by how much they differ, how sure that is, and how rare by chance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.stats.intervals import wilson_interval
from harness.stats.trials import FEWEST_DRAWN, REPLICATES, drawn_trials

Floats = NDArray[np.float64]

#: Pairs of trials that are looked at in all; with more trials there are fewer replicates.
_PAIRS = 2_000_000

#: Pairs that are held at a time.
_BLOCK = 200_000


@dataclass(frozen=True, slots=True)
class Effect:
    """``value`` with its 95 % interval, and ``p``, the two-sided chance of so much by accident.

    A ratio head / base (1: equal), or a difference head - base (0: equal), as the function says.
    """

    value: float
    low: float
    high: float
    p: float


def median_ratio(
    base: Floats, head: Floats, *, replicates: int = REPLICATES, seed: int = 0
) -> Effect:
    """By how much two groups of trial medians differ, (k,) and (m,) in one unit: head / base.

    The ratio is the median of all k * m ratios of a trial of ``head`` to one of ``base`` (J. L.
    Hodges and E. L. Lehmann, Annals of Mathematical Statistics 34 (1963) 598, on logarithms): as
    hard to disturb by a single odd trial as the ratio of both medians, but with the precision
    of means, so that fewer trials show the same slowdown. Its interval is that of the
    percentiles over trials drawn anew in both groups, as in ``trials.median_interval``. ``p`` is
    Student's t of the logarithm of the ratio over its standard error in the bootstrap, with the
    degrees of freedom of B. L. Welch (Biometrika 34 (1947) 28): smooth in the tails, where a
    share of replicates ends at 1 / replicates and no correction for many comparisons could be
    passed. With fewer than five trials on a side, interval and ``p`` are Welch's own.

    Raises ``ValueError`` with fewer than two trials on a side, or a median that is not above 0.
    """
    from scipy.special import stdtr, stdtrit  # takes longer to import than all the rest

    base, head = np.asarray(base, dtype=np.float64), np.asarray(head, dtype=np.float64)
    if min(len(base), len(head)) < 2:
        raise ValueError("a comparison needs at least two trials on each side")
    if min(base.min(), head.min()) <= 0:
        raise ValueError("latencies must be above 0")
    before, after = np.log(base), np.log(head)
    parts = [float(side.var(ddof=1)) / len(side) for side in (before, after)]
    total = sum(parts)
    shift = float(np.median(np.subtract.outer(after, before)))
    value = math.exp(shift)
    if total == 0:
        return Effect(value, value, value, 1.0 if shift == 0 else 0.0)
    freedom = total**2 / sum(
        part**2 / (len(side) - 1) for part, side in zip(parts, (before, after), strict=True)
    )
    if min(len(base), len(head)) < FEWEST_DRAWN:
        centre = float(after.mean() - before.mean())
        half = float(stdtrit(freedom, 0.975)) * math.sqrt(total)
        low, high, error = centre - half, centre + half, math.sqrt(total)
    else:
        shifts = _replicated_shifts(before, after, replicates, seed)
        low, high = (float(end) for end in np.percentile(shifts, [2.5, 97.5]))
        centre, error = shift, float(shifts.std(ddof=1))
    p = float(2 * stdtr(freedom, -abs(centre) / error)) if error else 0.0
    return Effect(value, math.exp(min(low, shift)), math.exp(max(high, shift)), p)


def _replicated_shifts(before: Floats, after: Floats, replicates: int, seed: int) -> Floats:
    """Hodges and Lehmann's shift of groups drawn anew, (replicates,), in blocks of bounded size."""
    rng = np.random.default_rng(seed)
    pairs = len(before) * len(after)
    replicates = max(200, min(replicates, _PAIRS // pairs))
    at_a_time = max(1, _BLOCK // pairs)
    found = []
    for begin in range(0, replicates, at_a_time):
        rows = min(at_a_time, replicates - begin)
        first, second = (drawn_trials(side, rows, rng) for side in (before, after))
        differences = (second[:, :, None] - first[:, None, :]).reshape(rows, pairs)
        found.append(np.median(differences, axis=1))
    return np.concatenate(found)


def paired_shares(base: NDArray[np.bool_], head: NDArray[np.bool_]) -> Effect:
    """The difference of two shares of right answers on the same samples, both (n,), paired.

    ``p`` by McNemar's exact test in its mid-p form (M. W. Fagerland, S. Lydersen and P. Laake,
    BMC Medical Research Methodology 13 (2013) 91): of the samples on which the two disagree, half
    should go either way. The interval is Newcombe's square-and-add for paired proportions
    (R. G. Newcombe, Statistics in Medicine 17 (1998) 2635, method 8, without its continuity
    correction), in shares.

    Raises ``ValueError`` without samples or for different numbers of them.
    """
    base, head = np.asarray(base, dtype=bool), np.asarray(head, dtype=bool)
    n = len(base)
    if n == 0 or len(head) != n:
        raise ValueError("a paired comparison needs the same samples on both sides")
    lost = int(np.count_nonzero(base & ~head))
    gained = int(np.count_nonzero(head & ~base))
    both = int(np.count_nonzero(base & head))
    neither = n - lost - gained - both
    low, high = _newcombe_paired(both, lost, gained, neither)
    value = (gained - lost) / n
    return Effect(value, min(low, value), max(high, value), mcnemar_mid_p(lost, gained))


def mcnemar_mid_p(lost: int, gained: int) -> float:
    """Two-sided mid-p of ``lost`` against ``gained`` disagreeing samples; 1 without any."""
    from scipy.special import bdtr

    n, least = lost + gained, min(lost, gained)
    if n == 0 or lost == gained:
        return 1.0
    below = float(bdtr(least, n, 0.5))
    point = below - (float(bdtr(least - 1, n, 0.5)) if least else 0.0)
    return min(1.0, 2 * below - point)


def benjamini_hochberg(p: Floats) -> Floats:
    """Adjusted p-values (n,): the least rate of false discoveries at which each would be one.

    Source: Y. Benjamini and Y. Hochberg, Journal of the Royal Statistical Society B 57 (1995)
    289. NaN stays NaN and counts as no comparison.
    """
    p = np.asarray(p, dtype=np.float64)
    found = np.full(p.shape, np.nan)
    tested = np.flatnonzero(~np.isnan(p))
    if len(tested):
        order = tested[np.argsort(p[tested], kind="stable")]
        ranks = np.arange(1, len(order) + 1)
        scaled = p[order] * len(order) / ranks
        found[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return found


def _newcombe_paired(both: int, lost: int, gained: int, neither: int) -> tuple[float, float]:
    n = both + lost + gained + neither
    first, second = (both + lost) / n, (both + gained) / n
    low1, high1 = wilson_interval(both + lost, n)
    low2, high2 = wilson_interval(both + gained, n)
    product = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    phi = 0.0 if product == 0 else (both * neither - lost * gained) / math.sqrt(product)
    difference = second - first

    def ends(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    low = difference - ends(second - low2, high1 - first)
    high = difference + ends(high2 - second, first - low1)
    return low, high
