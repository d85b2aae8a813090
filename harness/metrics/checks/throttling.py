"""Devices that lower their clock."""

from __future__ import annotations

from collections.abc import Iterator

from harness.domain import Advisory, AdvisoryKind
from harness.metrics.checks.seen import Seen


def said(seen: Seen) -> Iterator[Advisory]:
    """What the device said of itself before and after its trials."""
    trials = seen.observations.trials
    status = count = 0
    for trial in trials:
        readiness = trial.facts.get("readiness") or {}
        states = [state for when in ("before", "after") if (state := readiness.get(when))]
        highest = max((state.get("thermal_status") or 0 for state in states), default=0)
        status = max(status, highest)
        count += highest > 0 or any(state.get("throttled") for state in states)
    if count:
        who = f"Android's thermal status was {status}" if status else "the board said so"
        yield Advisory(
            AdvisoryKind.THROTTLED,
            f"{who}, before or after {count} of {len(trials)} trials",
        )
