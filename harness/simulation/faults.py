"""Which fault of a plan strikes now: counted, and drawn from a seed where they are random.

Nothing here knows how a fault is played; see ``transports/faulty/``.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.domain.fault import PURPOSES, Fault, FaultKind, RandomFaults, parse_fault

#: What random faults are drawn from, by the place. Those that no retry survives are as likely as
#: the others: a night has both. A hang takes as long as the Policy's ``silence_timeout``.
_DRAWN: dict[str, tuple[FaultKind, ...]] = {
    "connect": (FaultKind.REFUSED,),
    "push": (FaultKind.DISCONNECT, FaultKind.CORRUPTED, FaultKind.FULL),
    "load": (
        FaultKind.CRASH,
        FaultKind.KILLED,
        FaultKind.HANG,
        FaultKind.MEMORY,
        FaultKind.GARBAGE,
        FaultKind.OVERSIZED,
        FaultKind.DISCONNECT,
        FaultKind.REBOOT,
    ),
}


@dataclass(frozen=True, slots=True)
class _Drawn(Fault):
    """A fault that ``random`` made; ``position`` is that one's among the texts."""

    position: int = 0


class FaultPlan:
    """The faults of one device over one session, with what is left of each.

    A place is ``connect``, ``push``, ``start``, ``load`` or a purpose of ``PURPOSES``.
    """

    def __init__(self, device: str, texts: Sequence[str]) -> None:
        found = [parse_fault(text) for text in texts]
        self._device = device
        # By position among the texts: the same text twice is two faults.
        self._random = {
            index: item for index, item in enumerate(found) if isinstance(item, RandomFaults)
        }
        self._faults = {index: item for index, item in enumerate(found) if isinstance(item, Fault)}
        self._struck: Counter[int] = Counter()
        self._seen: Counter[str] = Counter()

    def uses(self, *kinds: FaultKind) -> bool:
        """Whether one of these kinds is planned by name."""
        return any(fault.kind in kinds for fault in self._faults.values())

    @property
    def struck(self) -> frozenset[int]:
        """Which of the texts have struck so far, by position; of random ones: at all."""
        return frozenset(self._struck)

    def reached(self, place: str) -> list[Fault]:
        """The faults that strike at the next ``connect``, ``push`` or ``start``; they count."""
        self._seen[place] += 1
        number = self._seen[place]
        due = [
            fault
            for fault in self._due()
            if fault.place == place and fault.number in (0, number) and self.strike(fault)
        ]
        return due + [item for item in self._drawn(place, f"{place}/{number}") if self.strike(item)]

    def of_process(self, purpose: str, number: int, identity: str) -> list[Fault]:
        """The faults that may strike while an agent process loads and does its work.

        ``number`` counts from 1, ``identity`` names the request. They count once they
        ``strike``: a sample that is never reached is no fault.
        """
        due = [
            fault
            for fault in self._due()
            if (fault.place == "load" and fault.purpose in ("", purpose)) or fault.place == purpose
            if fault.number in (0, number)
        ]
        self._seen[identity] += 1
        drawn = self._drawn("load", f"{identity}/{self._seen[identity]}")
        if purpose not in PURPOSES:
            return due + drawn
        # Half of them while the model loads, half of them later.
        later = random.Random(f"{self._device}/{identity}/{self._seen[identity]}")  # noqa: S311
        return due + [
            replace(item, place=purpose if later.random() < 0.5 else "load") for item in drawn
        ]

    def strike(self, fault: Fault) -> bool:
        """Note that a fault strikes; false where it has struck as often as it may."""
        if isinstance(fault, _Drawn):
            self._struck[fault.position] += 1
        for index, mine in self._faults.items():
            if mine is fault:
                if mine.times and self._struck[index] >= mine.times:
                    return False
                self._struck[index] += 1
        return True

    def _due(self) -> list[Fault]:
        return [
            fault
            for index, fault in self._faults.items()
            if not fault.times or self._struck[index] < fault.times
        ]

    def _drawn(self, place: str, what: str) -> list[_Drawn]:
        """At most one for each ``random``, the same for the same seed, device and ``what``."""
        found = []
        for position, chance in self._random.items():
            rng = random.Random(f"{chance.seed}/{self._device}/{what}")  # noqa: S311  no secret
            if place in _DRAWN and rng.random() < chance.rate:
                found.append(_Drawn(rng.choice(_DRAWN[place]), place, position=position))
        return found
