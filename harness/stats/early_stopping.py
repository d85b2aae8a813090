"""Loadgen's early stopping: how many queries a statement on a percentile needs.

The rule is that of the MLPerf Inference rules (appendix on early stopping) and of
``loadgen/early_stopping.cc``: with a confidence of 99 %, the probability that a query is too
late is below ``1 - percentile``. Of ``n`` queries with ``late`` too late ones that holds where
a binomial distribution of ``n`` and ``1 - percentile`` has at most ``late`` with a probability
below 1 %.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Loadgen's, with no tolerance.
CONFIDENCE = 0.99


def needed_queries(late: int, percentile: float) -> int:
    """The least number of queries, ``late`` of them too late, that shows the percentile in time.

    ``needed_queries(0, 0.99)`` is 459, ``(1, 0.99)`` 662, ``(1, 0.9)`` 64.
    """
    low, high = late, max(2 * late, 2)
    while not _shown(high, late, percentile):
        low, high = high, 2 * high
    return _first(low + 1, high, lambda queries: _shown(queries, late, percentile))


def early_stopping_estimate(values: NDArray[Any], percentile: float) -> float | None:
    """What the percentile of ``values`` (n,) is at most, with 99 % confidence.

    ``None`` for fewer queries than that takes. Loadgen's result of single and multi stream.
    """
    count = len(values)
    if count < needed_queries(1, percentile):
        return None
    # The largest number that may be late: the first that may not, less one.
    over = _first(2, count, lambda late: not _shown(count, late, percentile))
    return float(np.sort(values)[count - (over - 1)])


def _shown(queries: int, late: int, percentile: float) -> bool:
    from scipy.special import betainc

    if late >= queries:
        return False
    # The binomial distribution function as an incomplete beta function, DLMF 8.17.5.
    return bool(betainc(queries - late, late + 1, percentile) < 1 - CONFIDENCE)


def _first(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The first whole number for which a condition holds that ``high`` meets."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
