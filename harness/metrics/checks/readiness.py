"""What the Policy asked of the device in vain."""

from __future__ import annotations

from collections.abc import Iterator

from harness.domain import Advisory, AdvisoryKind
from harness.metrics.checks.seen import Seen

#: What a trial began without, by what it is about; see ``devices.readiness``.
_MISSED = {"temperature": AdvisoryKind.HOT, "battery": AdvisoryKind.LOW_BATTERY}


def missed(seen: Seen) -> Iterator[Advisory]:
    """What the Policy asked of the device in vain, each thing once."""
    found = {
        str(about): str(text)
        for trial in seen.observations.trials
        for about, text in (trial.facts.get("readiness") or {}).get("missed") or ()
    }
    for about, text in found.items():
        yield Advisory(_MISSED.get(about, AdvisoryKind.NOT_READY), text)
