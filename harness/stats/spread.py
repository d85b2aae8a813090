"""Whether several estimates of one thing differ by more than their own errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np


def heterogeneity_chance(values: Sequence[float], errors: Sequence[float]) -> float:
    """The chance of such a spread of ``values`` (k >= 2) if all were estimates of one number.

    Cochran's Q, each weighted by its standard error (W. G. Cochran, Biometrics 10 (1954) 101). An
    error of 0 makes every difference sure. Raises ``ValueError`` for other lengths.
    """
    if len(values) != len(errors) or len(values) < 2:
        raise ValueError("there must be two estimates, each with its error")
    centred, widths = np.asarray(values, dtype=np.float64), np.asarray(errors, dtype=np.float64)
    if not widths.min() > 0:
        return 0.0 if np.ptp(centred) > 0 else 1.0
    weights = widths**-2
    centred = centred - float(weights @ centred) / float(weights.sum())
    from scipy.special import chdtrc  # takes longer to import than most jobs to check

    return float(chdtrc(len(values) - 1, float(weights @ centred**2)))


def expected_range(count: int) -> float:
    """The mean range of ``count`` (>= 2) standard normal values, to 2 %.

    By expected order statistics (G. Blom, "Statistical Estimates and Transformed Beta-Variables",
    1958): five values lie 2.3 standard deviations apart, 25 values 3.9.
    """
    return 2 * NormalDist().inv_cdf((count - 0.375) / (count + 0.25)) if count > 1 else math.nan
