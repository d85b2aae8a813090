"""What else the device did."""

from __future__ import annotations

from collections.abc import Iterator

from harness.domain import Advisory, AdvisoryKind
from harness.metrics.checks import words
from harness.metrics.checks.seen import Seen

#: Cores that others may use. An idle Linux or Android uses up to about 0.1; a single busy program
#: uses 1, or half of one where it shares the agent's.
OTHERS_CORES = 0.2

#: CPU seconds below which the counters, which step by 10 ms for every core, tell nothing.
OTHERS_SECONDS = 0.1

#: How often in a second a trial makes room for others. An idle machine does some times; one whose
#: core is shared does at every turn of the scheduler, 100 times and more.
PUSHED_ASIDE = 50


def others(seen: Seen) -> Iterator[Advisory]:
    """Other processes that used processors while a trial ran."""
    known = [found for found in seen.conditions if found.others_s is not None and found.seconds]
    cores = [
        used
        for found in known
        if found.others_s is not None
        and found.seconds
        and found.others_s >= OTHERS_SECONDS
        and (used := found.others_s / found.seconds) >= OTHERS_CORES
    ]
    total = len(seen.conditions)
    if cores:
        most = "up to " if len(cores) > 1 else ""
        yield Advisory(
            AdvisoryKind.OTHER_LOAD,
            f"other processes used {most}{max(cores):.1f} cores during "
            f"{words.some(len(cores), total)}",
        )
    elif not known:
        rates = [found.pushed_aside for found in seen.conditions if found.pushed_aside is not None]
        high = [rate for rate in rates if rate >= PUSHED_ASIDE]
        if high:
            yield Advisory(
                AdvisoryKind.OTHER_LOAD,
                f"others took the agent's core up to {float(f'{max(high):.1g}'):g} times a second "
                f"during {words.some(len(high), total)}",
            )
