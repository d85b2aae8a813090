"""Progress of ``harness ab``: on a terminal one line that is updated, lines elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager

from rich.progress import Progress, TimeElapsedColumn

from harness.cli.shared.progress import Say, describe, live
from harness.orchestrate import events


def listener() -> AbstractContextManager[events.Listener]:
    """A listener for the events of a comparison."""
    return live(Live, TimeElapsedColumn())


class Live:
    """What happens once stands above, what is known by now in the line."""

    def __init__(self, line: Progress, say: Say) -> None:
        self._line, self._say = line, say
        self._task = line.add_task("preparing", total=None)
        self._known = ""

    def __call__(self, event: events.Event) -> None:
        """See ``events.Listener``."""
        if isinstance(event, events.RoundEnded):
            self._known = describe(event) or ""
            self._show(self._known)
        elif isinstance(event, events.TrialStarted):
            side = f"measuring {'AB'[event.job.index]}"
            self._show(f"{self._known}; {side}" if self._known else side)
        elif isinstance(event, events.PushProgress):
            self._show(f"push: {event.sent / 1e6:.1f} of {event.total / 1e6:.1f} MB")
        elif isinstance(event, events.Converting):
            self._show((describe(event) or "").strip())
        elif text := describe(event):
            self._say(text)

    def _show(self, text: str) -> None:
        self._line.update(self._task, description=text)
