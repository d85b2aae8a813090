"""Confidence intervals of proportions."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: Two-sided 95 % point of the standard normal distribution.
Z95 = 1.959963984540054


def wilson_interval(successes: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval for a proportion, both ends in 0..1.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical
    inference", JASA 22 (1927). Raises ``ValueError`` unless 0 <= successes <= n and n > 0.
    """
    if n <= 0 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    share = successes / n
    denominator = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / denominator
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / denominator
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == n else min(1.0, centre + half)
    return min(low, share), max(high, share)


def mean_of_proportions_interval(
    successes: Sequence[int], totals: Sequence[int]
) -> tuple[float, float, float]:
    """The plain mean of independent proportions, with its interval.

    Wilson's interval of each, put together by the method of variance estimates recovery
    (G. Y. Zou and A. Donner, Statistics in Medicine 27 (2008) 1693), which needs no draws
    and keeps its width where every success is one. Returns ``(value, low, high)``; raises
    ``ValueError`` without a proportion or where a total is 0.
    """
    if len(successes) == 0 or len(successes) != len(totals):
        raise ValueError("there must be proportions")
    shares = [good / n if n else math.nan for good, n in zip(successes, totals, strict=True)]
    ends = [wilson_interval(good, n) for good, n in zip(successes, totals, strict=True)]
    count = len(shares)
    value = sum(shares) / count
    below = math.sqrt(sum((p - low) ** 2 for p, (low, _) in zip(shares, ends, strict=True)))
    above = math.sqrt(sum((high - p) ** 2 for p, (_, high) in zip(shares, ends, strict=True)))
    return value, max(0.0, value - below / count), min(1.0, value + above / count)
