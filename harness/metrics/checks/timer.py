"""Whether the clock is fine enough for this model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.domain import Advisory, AdvisoryKind
from harness.metrics.checks.seen import Seen

#: A timer step above this share of the median makes single samples coarse.
TIMER_SHARE = 0.01


def coarse(seen: Seen) -> Iterator[Advisory]:
    """Steps of the clock that the device tells, beside the median."""
    medians, step = seen.medians, seen.observations.clock_resolution_ns
    if medians and step > TIMER_SHARE * float(np.median(medians)):
        yield Advisory(
            AdvisoryKind.COARSE_TIMER,
            f"the clock steps by {step:g} ns and the median is {np.median(medians):g} ns",
        )
