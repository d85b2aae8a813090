"""What looking something over finds: of a device, of this machine, of an acceptance."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    """How a check ended."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: its name, how it ended, what was found, and what to do about it."""

    name: str
    mark: Mark
    found: str
    fix: str = ""
