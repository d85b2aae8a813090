"""Whether the clock is fine enough for this model."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from harness.domain import Advisory, AdvisoryKind
from harness.metrics.checks import words
from harness.metrics.checks.seen import Seen

#: A timer step above this share of the median makes single samples coarse.
TIMER_SHARE = 0.01


def coarse(seen: Seen) -> Iterator[Advisory]:
    """Steps of the clock beside the median: as the device tells them, or as its samples show."""
    medians, step = seen.medians, seen.observations.clock_resolution_ns
    if not medians:
        return
    median = statistics.median(medians)
    if step > TIMER_SHARE * median:
        yield Advisory(
            AdvisoryKind.COARSE_TIMER,
            f"the clock steps by {step:g} ns and the median is {median:g} ns",
        )
        return
    shown = [found for found in seen.steps_ns if found is not None]
    coarse_ones = [found for found in shown if found > TIMER_SHARE * median]
    if coarse_ones:
        yield Advisory(
            AdvisoryKind.COARSE_TIMER,
            f"samples lie on steps of {words.ns(min(coarse_ones))} and the median is "
            f"{words.ns(median)}, though the clock claims finer ones",
        )
    elif shown and not any(shown):
        yield Advisory(
            AdvisoryKind.COARSE_TIMER,
            f"all samples of {words.some(len(shown), len(seen.timed))} are equal, "
            f"{words.ns(median)}",
        )
