"""Estimates over trials: what a job's latency is, and how sure that is.

A job's samples have two levels: trials (fresh processes), which are independent of each other,
and the samples of one trial, which are not: they share a memory layout, a place in the cache, a
clock frequency, and follow each other in time. So every interval here comes from how trials differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.stats.middle import median

#: With fewer trials than this there is too little to draw from: Student's t instead.
FEWEST_DRAWN = 5

#: Replicates of a bootstrap: its own error in an interval's end is then about 3 % of the width.
REPLICATES = 2000

Floats = NDArray[np.float64]


def trial_medians(trials: Sequence[NDArray[Any]]) -> Floats:
    """The median of each trial's samples, (trials,) in their unit.

    Raises ``ValueError`` without trials or with an empty one.
    """
    if not trials or any(len(samples) == 0 for samples in trials):
        raise ValueError("every trial needs at least one sample")
    return np.array([median(samples) for samples in trials], dtype=np.float64)


def hierarchical_median_interval(
    trials: Sequence[NDArray[Any]],
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = 0.95,
    step: float = 0.0,
) -> tuple[float, float, float]:
    """The median over trials of each trial's median, with its interval.

    ``trials``: one array of samples per trial, none empty; ``step`` is the clock's, in the
    samples' unit: no interval is narrower than a reading can be off. Returns
    ``(value, low, high)`` in the samples' unit; one trial says nothing of how processes differ,
    and its interval is infinite on both sides. Raises ``ValueError`` without trials or with an
    empty one. See ``median_interval`` for the method.
    """
    return median_interval(
        trial_medians(trials), replicates=replicates, seed=seed, level=level, step=step
    )


def median_interval(
    medians: Floats,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
    level: float = 0.95,
    step: float = 0.0,
) -> tuple[float, float, float]:
    """The median of the trials' medians (k,), with its interval by a hierarchical bootstrap.

    Upper level: trials are drawn with replacement. Lower level: a drawn trial's median is that
    of its samples, moved by a normal error with 1/k of the variance among the trials' medians.
    Drawing the samples anew with replacement as well would count what varies within a trial
    twice, for the trials' medians hold it already (A. C. Davison and D. V. Hinkley, "Bootstrap
    Methods and their Application", 1997, section 3.8): intervals of 95 % then hold the truth in
    over 99 % of experiments. The error of the lower level makes up for the (k - 1) / k by which a
    bootstrap's variance is too small, and keeps the median of few trials from jumping between a
    handful of values (the smoothed bootstrap, T. C. Hesterberg, "What Teachers Should Know About
    the Bootstrap", The American Statistician 69 (2015) 371). The interval is that of the
    percentiles.

    With 2 to 4 trials it is Student's t of the trials' medians (T. Kalibera and R. Jones,
    "Rigorous Benchmarking in Reasonable Time", ISMM 2013, use it at the highest level).
    """
    medians = np.asarray(medians, dtype=np.float64)
    count = len(medians)
    if count == 0:
        raise ValueError("an interval needs at least one trial")
    value = median(medians)
    if count == 1:
        return value, -math.inf, math.inf
    if count < FEWEST_DRAWN:
        _, low, high = mean_interval(medians, level=level)
    else:
        drawn = drawn_trials(medians, replicates, np.random.default_rng(seed))
        estimates = np.median(drawn, axis=1)
        tail = (1 - level) / 2 * 100
        low, high = (float(end) for end in np.percentile(estimates, [tail, 100 - tail]))
    return value, min(low, value - step / 2), max(high, value + step / 2)


def drawn_trials(values: Floats, replicates: int, rng: np.random.Generator) -> Floats:
    """One value per trial (k,), drawn anew (replicates, k); see ``median_interval``."""
    count = len(values)
    error = values.std(ddof=1) / math.sqrt(count) if count > 1 else 0.0
    drawn = values[rng.integers(0, count, size=(replicates, count))]
    return drawn + rng.normal(0.0, error, size=drawn.shape)


def mean_interval(values: Floats, *, level: float = 0.95) -> tuple[float, float, float]:
    """The mean of one value per trial (k,), with Student's t interval.

    Returns ``(value, low, high)``, infinite ends for a single trial. Raises ``ValueError``
    without one.
    """
    values = np.asarray(values, dtype=np.float64)
    count = len(values)
    if count == 0:
        raise ValueError("an interval needs at least one trial")
    value = float(values.mean())
    if count == 1:
        return value, -math.inf, math.inf
    from scipy.special import stdtrit  # takes longer to import than all the rest together

    half = float(stdtrit(count - 1, (1 + level) / 2)) * float(values.std(ddof=1)) / math.sqrt(count)
    return value, value - half, value + half


def relative_half_width(medians: Floats, *, seed: int = 0) -> float:
    """How precisely the trials' medians (k,) tell their median: half its interval over it.

    The wider of the two intervals, ``median_interval`` and Student's t: who stops measuring when a
    width is reached stops too often where it came out small by accident, and the two seldom
    do so together. Infinite for one trial, and for a median that is not above 0.
    """
    value, low, high = median_interval(medians, seed=seed)
    if value <= 0 or len(medians) < 2:
        return math.inf
    _, t_low, t_high = mean_interval(medians)
    return max(high - low, t_high - t_low) / 2 / value


def precise_enough(medians: Floats, within: float, *, seed: int = 0) -> bool:
    """Whether ``relative_half_width`` is at most ``within``; the cheaper one is asked first."""
    value = median(medians)
    if value <= 0 or len(medians) < 2:
        return False
    _, low, high = mean_interval(medians)
    if (high - low) / 2 / value > within:
        return False
    return relative_half_width(medians, seed=seed) <= within
