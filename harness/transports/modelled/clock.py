"""Time that passes only when something is modelled to take it."""

from __future__ import annotations

from collections.abc import Callable

#: What one reading of the modelled clock costs, ns.
_TICK_NS = 40


class ModelledClock:
    """A clock that moves only when something is modelled to take time."""

    name = "modelled"
    real = False

    def __init__(self) -> None:
        self._now = 0
        #: Told of the seconds that the agent rests.
        self.rested: Callable[[float], None] = lambda _seconds: None

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` go by in which nothing runs."""
        self.advance(seconds * 1e9)
        self.rested(seconds)

    def now_ns(self) -> int:
        """The modelled time, ns."""
        self._now += _TICK_NS
        return self._now

    def advance(self, ns: float) -> None:
        """Let ``ns`` go by."""
        self._now += int(ns)

    def sleep_until(self, when_ns: int) -> None:
        """Nothing happens until then."""
        if when_ns > self._now:
            self.rested((when_ns - self._now) * 1e-9)
            self._now = when_ns

    def resolution_ns(self) -> int:
        """The step of the clock."""
        return _TICK_NS
