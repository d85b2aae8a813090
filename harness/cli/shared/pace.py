"""Lines that are written at most ten times a second, however fast they come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

#: Seconds between two writings, at least.
PACE = 0.1


class Paced:
    """Gives lines to ``write``, those that came meanwhile at once, joined by line feeds.

    A line after a pause is written at once, one of a burst within ``PACE``. A context manager:
    at its end everything is written. What ``write`` raises is raised to who says the next line.
    """

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._held: list[str] = []
        self._last = -PACE
        self._timer: threading.Timer | None = None
        self._failed: Exception | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Paced:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):  # whoever reads may have gone, which is not the run's trouble
            self._flush()

    def say(self, line: str) -> None:
        """A line, without a line feed at its end."""
        with self._lock:
            if self._failed is not None:
                raise self._failed
            self._held.append(line)
            left = self._last + PACE - time.monotonic()
            if left > 0:
                if self._timer is None:
                    self._timer = threading.Timer(left, self._later)
                    self._timer.daemon = True
                    self._timer.start()
                return
        self._flush()

    def _later(self) -> None:
        try:
            self._flush()
        except Exception as error:
            self._failed = error

    def _flush(self) -> None:
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            held, self._held = self._held, []
            self._last = time.monotonic()
            if held:
                self._write("\n".join(held))
