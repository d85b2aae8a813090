"""Where a job ran: on which device, by which accelerator, on how many threads."""

from __future__ import annotations

from collections.abc import Iterator

from harness.domain import Advisory, AdvisoryKind
from harness.metrics.checks.seen import Seen


def moved(seen: Seen) -> Iterator[Advisory]:
    """Another device than the planned one."""
    observations = seen.observations
    if observations.moved_to:
        yield Advisory(
            AdvisoryKind.MOVED, f"ran on {observations.moved_to}: {observations.moved_because}"
        )


def delegation(seen: Seen) -> Iterator[Advisory]:
    """Operators that the accelerator left to the CPU."""
    observations = seen.observations
    found = observations.delegated
    # On the CPU there is nothing that an operator could fall back from.
    if not found or observations.accelerator == "cpu":
        return
    nodes, total, partitions = (found.get(key) for key in ("nodes", "total", "partitions"))
    left = nodes is not None and total is not None and nodes < total
    if left or found.get("whole") is False:
        count = f"{nodes} of the file's {total}" if left else "not all"
        parts = f", in {partitions} partition(s)" if partitions else ""
        yield Advisory(
            AdvisoryKind.PARTIAL_DELEGATION,
            f"{observations.accelerator} ran {count} operators{parts}",
        )


def threads(seen: Seen) -> Iterator[Advisory]:
    """Other numbers of threads than asked for."""
    differing = sorted(
        {
            (int(asked), int(found))
            for trial in seen.observations.trials
            if (asked := trial.facts.get("threads_asked")) is not None
            and (found := trial.facts.get("threads_found")) is not None
            and asked != found
        }
    )
    for asked, found in differing:
        yield Advisory(AdvisoryKind.THREADS_DIFFER, f"asked for {asked}, found {found}")
