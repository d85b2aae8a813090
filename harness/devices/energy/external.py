"""A meter of the user's own: a program on this machine that prints what it reads.

In the device's profile: ``power_meter = ["program", "argument", ...]`` and
``power_meter_accuracy_percent``. The program prints lines

    <seconds> <watts>

two decimal numbers with white space between them, the seconds of any clock that goes forward (so
that a late line is no late reading), at least one line a second, until it is ended. Empty lines
and lines that begin with ``#`` are passed over; anything else is an error that shows the line. It
is started without a shell, before the device rests, and killed with everything that it started.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import deque
from collections.abc import Sequence

from harness.devices.energy.meter import MOST_WATTS, Named
from harness.errors import AgentSetupError, AgentTimeoutError, HarnessError, UnsupportedError
from harness.transports.lines import printable
from harness.transports.local import LocalProcess

_LINE = re.compile(r"(\d{1,15}(?:\.\d{0,12})?)\s+(-?\d{1,9}(?:\.\d{0,12})?(?:[eE][-+]?\d{1,3})?)")

#: Seconds without a reading after which a meter hangs.
SILENCE = 10.0

#: Readings that are kept between two calls of ``read``.
_MOST = 1_000_000

#: Longer lines are none of ours.
_MOST_TEXT = 200


class ExternalMeter:
    """Such a program while it runs, see ``Meter``."""

    def __init__(self, command: Sequence[str], accuracy_percent: float) -> None:
        self.named = Named(command[0].rsplit("/", 1)[-1][:40], accuracy_percent, "the profile")
        try:
            self._process = LocalProcess(command)
        except AgentSetupError as error:
            raise UnsupportedError(
                f"power meter: {error.message}", hint="see power_meter in the device's profile"
            ) from None
        self._readings: deque[tuple[float, float]] = deque(maxlen=_MOST)
        self._wrong = ""
        self._late: float | None = None
        self._newest = time.monotonic()
        self._closed = False
        self._thread = threading.Thread(target=self._drain, name="power-meter", daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        before = -1.0
        try:
            while not self._closed:
                line = self._process.read_line(SILENCE)
                now = time.monotonic()
                if not line:
                    code = self._process.wait(2)
                    tail = printable(self._process.stderr_tail())
                    self._wrong = f"ended early (exit code {code}) {tail}".rstrip()
                    return
                text = line[: _MOST_TEXT + 1].decode("utf-8", "replace").strip()
                if not text or text.startswith("#"):
                    continue
                match = _LINE.fullmatch(text)
                if len(line) > _MOST_TEXT or match is None:
                    self._wrong = f"printed {printable(text)[:60]!r} for '<seconds> <watts>'"
                    return
                seconds, watts = float(match[1]), float(match[2])
                if seconds < before or not 0 <= watts <= MOST_WATTS:
                    self._wrong = f"printed {printable(text)[:60]!r}, which makes no sense"
                    return
                before = seconds
                # The line that was least late tells how the two clocks stand to each other.
                late = now - seconds
                self._late = late if self._late is None else min(self._late, late)
                self._newest = now
                self._readings.append((seconds, watts))
        except AgentTimeoutError:
            self._wrong = f"printed nothing for {SILENCE:g} s"
        except (HarnessError, OSError, ValueError) as error:
            if not self._closed:
                self._wrong = f"could not be read: {error}"

    def read(self) -> list[tuple[float, float]]:
        """See ``Meter``."""
        if self._wrong:
            raise UnsupportedError(
                f"power meter {self.named.name}: it {self._wrong}",
                hint="run it by hand: it prints a line '<seconds> <watts>' every second",
            )
        found = []
        with contextlib.suppress(IndexError):
            while True:
                seconds, watts = self._readings.popleft()
                found.append((seconds + (self._late or 0.0), watts))
        return found

    def close(self) -> None:
        """See ``Meter``."""
        self._closed = True
        self._process.kill()
        self._thread.join(2)
