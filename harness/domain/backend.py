"""What executes the model on a device."""

from __future__ import annotations

import re
from dataclasses import dataclass

_BACKEND = re.compile(r"^(?P<accelerator>[a-z][a-z0-9_]*)(?:\s*x\s*(?P<threads>\d{1,3}))?$")

#: Accelerators the harness has a word for; what a device offers is in its profile.
ACCELERATORS = ("cpu", "gpu", "nnapi", "edgetpu")


@dataclass(frozen=True, slots=True, order=True)
class Backend:
    """An accelerator and, on the CPU, a number of threads: ``cpu x4``, ``edgetpu``."""

    accelerator: str
    threads: int = 1

    def __post_init__(self) -> None:
        if self.accelerator not in ACCELERATORS:
            raise ValueError(f"unknown accelerator {self.accelerator!r}")
        if not 1 <= self.threads <= 256:
            raise ValueError(f"threads must be 1 to 256, not {self.threads}")

    @classmethod
    def parse(cls, text: str) -> Backend:
        """Read ``cpu``, ``cpu x4`` or ``edgetpu``.

        Raises ``ValueError`` for anything else.
        """
        found = _BACKEND.match(text.strip().lower())
        if not found:
            raise ValueError(f"{text!r} is not a backend: write for example 'cpu x4' or 'edgetpu'")
        return cls(found["accelerator"], int(found["threads"] or 1))

    def __str__(self) -> str:
        return f"cpu x{self.threads}" if self.accelerator == "cpu" else self.accelerator
