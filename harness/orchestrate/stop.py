"""The wish to stop."""

from __future__ import annotations

import threading


class Stop:
    """The wish to stop after the running trials; set from a signal handler."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> bool:
        """Whether it was asked for."""
        return self._event.is_set()

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond the wish to stop."""
        self._event.wait(seconds)

    def request(self) -> None:
        """Finish the running trials, then stop."""
        self._event.set()
