"""Size of the deployable file."""

from __future__ import annotations

from harness.domain import Direction, Measurement
from harness.metrics.observations import Observations


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """``size`` in bytes, exact."""
    return (Measurement("size", observations.size_bytes, "bytes", Direction.LOWER, 1),)
