"""What a power meter is: anything that says how many watts a device takes, and how well it knows.

A meter on the device is a function that reads it once, ``Gauge``; one of the user's own is a
program, see ``external``. A new gauge is one file and one line in ``GAUGES``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from harness.devices.messages import clean
from harness.devices.shell import run_script
from harness.errors import ProtocolError, UnsupportedError
from harness.transports.transport import Transport

#: More watts than this no device here takes.
MOST_WATTS = 2000.0

#: Longer answers are not of our script.
_MOST_LINES = 2000


@dataclass(frozen=True, slots=True)
class Named:
    """Which meter it is, its accuracy in per cent of a reading, and whose word that is."""

    name: str
    accuracy_percent: float
    source: str

    def as_facts(self) -> dict[str, Any]:
        """For the record of the job."""
        return {
            "name": self.name, "accuracy_percent": self.accuracy_percent, "source": self.source,
        }  # fmt: skip


class Meter(Protocol):
    """One that is on: ``read`` gives what came since the last time."""

    named: Named

    def read(self) -> list[tuple[float, float]]:
        """``(seconds of this host's monotonic clock, watts)``, the newest last.

        Raises ``UnsupportedError`` with the reason where the meter cannot tell (any more).
        """

    def close(self) -> None:
        """Switch it off; never raises."""


Lines = Mapping[str, str]
#: What one reading of a device gives: watts, or ``None`` for the first of a counter.
Gauge = Callable[[Lines, Lines | None], float | None]


@dataclass(frozen=True, slots=True)
class OnDevice:
    """A kind of meter that devices have: ``watts(now, before)`` of the lines of ``power.sh``.

    ``watts`` raises ``UnsupportedError`` where these lines give no power.
    """

    named: Named
    watts: Gauge


def read_lines(transport: Transport, kind: str, root: str = "") -> dict[str, str]:
    """The lines of ``power.sh`` by key, bounded; raises ``TransportError``, ``ProtocolError``."""
    done = run_script(transport, "power.sh", kind, *([root] if root else []), timeout=30)
    if done.exit_code != 0:
        raise ProtocolError(
            f"power.sh ended with {done.exit_code}: {clean(str(done.stderr[-200:]))}"
        )
    return parse_lines(done.stdout.decode("utf-8", "replace"))


def parse_lines(text: str) -> dict[str, str]:
    """``KEY VALUE`` lines; those of ``adc`` by the name of their rail, ``adc.VDD_CORE_A``."""
    found: dict[str, str] = {}
    for line in text.splitlines()[:_MOST_LINES]:
        key, _, value = line.strip().partition(" ")
        if key == "adc":
            # Older firmware prints NAME=VALUE alone.
            name, value = (*re.split("[ =]", value, maxsplit=1), "")[:2]
            key = f"adc.{name}"
        if key:
            found[str(clean(key))[:100]] = str(clean(value))[:200]
    return found


def bounded(watts: float, what: str) -> float:
    """Raises ``UnsupportedError`` for what no device takes."""
    if not 0 <= watts <= MOST_WATTS:
        raise UnsupportedError(f"{what} says {watts:.4g} W, which makes no sense")
    return watts
