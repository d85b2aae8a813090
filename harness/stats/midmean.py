"""Means that a few disturbed runs do not move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def middle_half(totals: NDArray[np.float64]) -> NDArray[np.intp]:
    """Which of ``totals`` (n,) are neither in their lowest nor in their highest quarter.

    The mean over these is the midmean (J. W. Tukey, "Exploratory Data Analysis", 1977): unlike
    the mean it stands a quarter of disturbed runs, and unlike the median it averages over the
    steps of a coarse clock.
    """
    cut = len(totals) // 4
    return np.sort(np.argsort(totals, kind="stable")[cut : len(totals) - cut])


def midmean(values: NDArray[np.float64]) -> float:
    """The mean of the middle half of ``values`` (n,), n at least 1."""
    return float(values[middle_half(values)].mean())
