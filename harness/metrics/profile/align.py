"""Two sequences in the same order, item by item: the alignment with the most weight.

The recurrence of S. B. Needleman and C. D. Wunsch, "A general method applicable to the search for
similarities in the amino acid sequence of two proteins", J. Mol. Biol. 48(3), 1970, without a cost
of gaps; whole rows at once, which only such gaps allow. Rows are kept at intervals and made again
between them, so that memory grows with the square root of what the whole table would take.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isqrt

import numpy as np
from numpy.typing import NDArray

#: What item ``i`` of the first sequence weighs with each of the second: (m,), 0 where they differ.
Weights = Callable[[int], NDArray[np.int64]]


def align(count: int, others: int, weights: Weights) -> list[tuple[int | None, bool]]:
    """For each of ``count`` items its partner among ``others``, and whether it is the only one.

    A partner is sure where every alignment of the greatest weight has this pair; else it is the
    first of those that are as good. Partners rise. Weights are integers, 0 or more.
    """
    step = max(1, isqrt(count))
    start = np.zeros(others + 1, np.int64)
    kept = {0: start}
    row = start
    for index in range(count):
        row = _next(row, weights(index))
        if (index + 1) % step == 0:
            kept[index + 1] = row
    best, column = int(row[-1]), others
    after = np.zeros(others + 1, np.int64)
    found: list[tuple[int | None, bool]] = [(None, False)] * count
    for begin in range((count - 1) // step * step if count else 0, -1, -step):
        rows = [kept[begin]]
        for index in range(begin, min(begin + step, count)):
            rows.append(_next(rows[-1], weights(index)))
        for index in range(min(begin + step, count) - 1, begin - 1, -1):
            before, here = rows[index - begin], rows[index - begin + 1]
            weight = weights(index)
            if here[column] != before[column]:
                # Rows rise: the first place with this sum is where the pair was made.
                column = int(np.searchsorted(here, here[column])) - 1
                with_pair = before[:-1] + weight + after[1:]
                pairs = np.count_nonzero((with_pair == best) & (weight > 0))
                without = bool(((before + after) == best).any())
                found[index] = column, pairs == 1 and not without
            after = _next(after[::-1], weight[::-1])[::-1]
    return found


def _next(row: NDArray[np.int64], weight: NDArray[np.int64]) -> NDArray[np.int64]:
    """The best sums with one more item, by how many of the others are used: (m + 1,)."""
    made = row.copy()
    np.maximum(made[1:], row[:-1] + weight, out=made[1:])
    np.maximum.accumulate(made, out=made)
    return made
