"""Tests that may be looked at after every observation without losing their error rate."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

#: Variance of the effects (mean over standard deviation) that the test is tuned for.
PRIOR = 1.0


def t_confidence_sequence(
    values: NDArray[np.float64], *, level: float = 0.95, prior: float = PRIOR
) -> tuple[float, float, float]:
    """The mean of ``values`` (n,), with an interval that holds at all n at once.

    However often one looks and whenever one stops, all intervals of the sequence together hold
    the true mean with probability ``level``. The sequence inverts the t-test's Bayes factor
    with a normal prior on the effect size (M. Goenen, W. O. Johnson, Y. Lu and P. H. Westfall,
    The American Statistician 59 (2005) 252): with the right Haar prior on the standard deviation
    it is a test martingale (A. Hendriksen, R. de Heide and P. Gruenwald, Bayesian Analysis 16
    (2021) 961), so by Ville's inequality it passes 1 / (1 - level) with at most that probability
    (H. Wang and A. Ramdas, "Anytime-valid t-tests and confidence sequences for Gaussian means
    with unknown variance", Sequential Analysis 44 (2025)).

    Returns ``(mean, low, high)``; infinite ends where n is too small for any. Raises
    ``ValueError`` without values.
    """
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n == 0:
        raise ValueError("a mean needs at least one value")
    mean = float(values.mean())
    if n < 2:
        return mean, -math.inf, math.inf
    growth = 1 + n * prior
    freedom = n - 1
    # The Bayes factor grows with t; it reaches its bound where
    # ((1 + t^2 / v) / (1 + t^2 / (v * growth)))^(n / 2) = sqrt(growth) / (1 - level).
    bound = (math.sqrt(growth) / (1 - level)) ** (2 / n)
    if bound >= growth:
        return mean, -math.inf, math.inf
    critical = math.sqrt(freedom * (bound - 1) / (1 - bound / growth))
    half = critical * float(values.std(ddof=1)) / math.sqrt(n)
    return mean, mean - half, mean + half
