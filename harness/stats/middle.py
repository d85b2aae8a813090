"""The median of a short vector, many thousand times."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def median(values: NDArray[Any]) -> float:
    """``numpy.median`` of a vector (n,) without NaN, to the last bit.

    NumPy's own takes 15 us whatever the length, three times as long as the work; a thousand
    devices have several hundred thousand medians. Raises ``ValueError`` for an empty vector.
    """
    half = len(values) // 2
    if not len(values):
        raise ValueError("nothing has no median")
    if len(values) % 2:
        return float(np.partition(values, half)[half])
    lower, upper = np.partition(values, (half - 1, half))[half - 1 : half + 1]
    return (float(lower) + float(upper)) / 2
