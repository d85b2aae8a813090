"""An estimate with its uncertainty."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Direction(StrEnum):
    """Which direction is better."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True, slots=True)
class Measurement:
    """A value in ``unit`` with its 95 % interval (``None`` where it makes no sense).

    ``n`` counts what the estimate rests on (samples), ``groups`` the independent units
    (trials) they fall into.
    """

    name: str
    value: float
    unit: str
    better: Direction
    n: int
    low: float | None = None
    high: float | None = None
    groups: int = 1
