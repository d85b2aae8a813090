"""The steps that values lie on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.stats.middle import median

#: The first so many values tell.
_MOST = 4096

#: Values closer than this share of the median are one level: ticks that are no whole number of
#: units are rounded, now up, now down.
_ROUNDED = 0.001

#: Different values that rounding makes of one level.
_ROUNDINGS = 3


def granularity(values: NDArray[np.integer]) -> float | None:
    """The smallest step between the levels that ``values`` (n,), all positive, lie on, or ``None``.

    0 where all are equal. ``None`` where they do not lie on levels: where there are more levels
    than a third of the values, or a level has more different values than rounding makes; and for
    fewer than 20 values.
    """
    values = values[:_MOST]
    n = len(values)
    if n < 20:
        return None
    distinct = np.unique(values)
    if len(distinct) == 1:
        return 0.0
    gaps = np.diff(distinct)
    apart = gaps > _ROUNDED * median(values)
    ends = np.flatnonzero(apart)
    levels = len(ends) + 1
    widest = np.diff(ends, prepend=-1, append=len(gaps)).max()
    if levels < 2 or levels > n / 3 or widest > _ROUNDINGS:
        return None
    return float(gaps[apart].min())
