"""The wish to stop."""

from __future__ import annotations

import threading
import time


class Stop:
    """The wish to stop after the running trials; set from a signal handler, or by the clock."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._deadline: float | None = None

    def __call__(self) -> bool:
        """Whether it was asked for, or its time is over."""
        over = self._deadline is not None and time.monotonic() >= self._deadline
        return over or self._event.is_set()

    def wait(self, seconds: float) -> None:
        """Sleep, but not beyond the wish to stop."""
        self._event.wait(seconds)

    def request(self) -> None:
        """Finish the running trials, then stop."""
        self._event.set()

    def within(self, seconds: float) -> Stop:
        """The same wish, and also once so many seconds have passed."""
        limited = Stop()
        limited._event = self._event
        limited._deadline = time.monotonic() + seconds
        return limited
