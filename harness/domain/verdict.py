"""The comparison of two measurements of the same thing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.domain.measurement import Measurement


class Outcome(StrEnum):
    """How a comparison ended; the value is its name in all output."""

    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE = "no difference shown"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one measurement from ``base`` to ``head``.

    ``effect`` with its 95 % interval ``low``..``high`` is the ratio head / base (``unit``
    ``"ratio"``, 1: equal), or the difference head - base (``unit`` ``"share"``, 0: equal).
    ``p`` is the two-sided chance of so much by accident and ``adjusted`` the same after the
    correction for many comparisons; ``None`` where a difference is exact. ``reason`` says
    why there is no verdict, or what limits it.
    """

    metric: str
    outcome: Outcome
    base: Measurement | None
    head: Measurement | None
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = "ratio"
    p: float | None = None
    adjusted: float | None = None
    reason: str = ""
