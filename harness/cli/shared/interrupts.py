"""Ctrl-C once: stop after the trial that is running. Twice: stop at once."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.orchestrate.stop import Stop


@contextmanager
def stop_on_signals(
    first: str = "stopping; a trial that is running is finished",
    last: Callable[[], str] = lambda: "",
) -> Iterator[Stop]:
    """A ``Stop`` that SIGINT and SIGTERM set; the second signal ends the process.

    ``first`` is what the first signal is answered with, ``last()`` what the second one is beside
    its own words.

    Agents and conversions end by themselves when the orchestrator's end of their stdin
    closes, and the store has every sample that had arrived.
    """
    from harness.orchestrate.stop import Stop

    stop = Stop()

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if stop():
            more = ""
            with suppress(Exception):  # whatever it says, the process ends
                more = last()
            said = "\nstopped at once; what the store has is kept\n" + (more and f"{more}\n")
            os.write(2, said.encode())
            os._exit(130)
        stop.request()
        os.write(2, f"\n{first}; once more to stop at once\n".encode())

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        if stop():
            # A second signal may come while the process is ending, when Python has let go of its
            # handlers already: the exit code shall not depend on that.
            atexit.register(_ignore, before)
        else:
            for number, handler in before.items():
                signal.signal(number, handler)
        sys.stderr.flush()


def _ignore(signals: Iterable[signal.Signals]) -> None:
    for number in signals:
        signal.signal(number, signal.SIG_IGN)
