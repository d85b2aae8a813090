"""The area under the ROC curve and its interval."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.stats.intervals import Z95


def auc_interval(
    positive: NDArray[np.float64], negative: NDArray[np.float64], z: float = Z95
) -> tuple[float, float, float]:
    """The chance that a positive scores above a negative (ties count half), with its interval.

    The variance is DeLong's (E. R. DeLong, D. M. DeLong and D. L. Clarke-Pearson, Biometrics
    44 (1988)), by midranks (X. Sun and W. Xu, IEEE Signal Processing Letters 21 (2014)); the
    interval is built on the logit scale, so that it stays in 0..1 (M. S. Pepe, "The
    Statistical Evaluation of Medical Tests for Classification and Prediction", 2003,
    section 5.2). Where every pair is ordered alike that variance is 0 and says nothing:
    there, and with one score of a kind, R. G. Newcombe's method 5 (Statistics in Medicine
    25 (2006) 559) gives the interval.

    Returns ``(value, low, high)``. Raises ``ValueError`` without scores of both kinds or
    for scores that are not finite.
    """
    positive = np.asarray(positive, dtype=np.float64)
    negative = np.asarray(negative, dtype=np.float64)
    m, n = len(positive), len(negative)
    if not m or not n:
        raise ValueError("an AUC needs scores of both kinds")
    if not (np.isfinite(positive).all() and np.isfinite(negative).all()):
        raise ValueError("scores must be finite")
    together = midranks(np.concatenate([positive, negative]))
    value = float((together[:m].sum() - m * (m + 1) / 2) / (m * n))
    variance = 0.0
    if m > 1 and n > 1:
        above = (together[:m] - midranks(positive)) / n
        below = 1 - (together[m:] - midranks(negative)) / m
        variance = float(above.var(ddof=1) / m + below.var(ddof=1) / n)
    if not 0 < value < 1 or variance <= 0:
        return (value, *_newcombe(value, m, n, z))
    half = z * math.sqrt(variance) / (value * (1 - value))
    logit = math.log(value / (1 - value))
    return value, _expit(logit - half), _expit(logit + half)


def midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1, equal values sharing the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    found: NDArray[np.float64] = (last - (counts - 1) / 2)[inverse]
    return found


def _newcombe(value: float, m: int, n: int, z: float) -> tuple[float, float]:
    """Both ends solve ``|theta - value| = z * sqrt(V(theta))``."""
    middle = (m + n) / 2 - 1

    def excess(theta: float) -> float:
        spread = theta * (1 - theta) / (m * n)
        spread *= 1 + middle * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (theta - value) ** 2 - z * z * spread

    return _root(excess, 0.0, value), _root(excess, 1.0, value)


def _root(excess: Callable[[float], float], outer: float, inner: float) -> float:
    """Where ``excess`` changes its sign between ``outer`` (positive) and ``inner``."""
    if outer == inner:
        return outer
    for _ in range(60):
        middle = (outer + inner) / 2
        if excess(middle) > 0:
            outer = middle
        else:
            inner = middle
    return outer


def _expit(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0
