"""One input under its limits: anything but an answer or an error of our own is a finding."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from fuzz.target import Target

ROOT = Path(__file__).resolve().parent.parent

#: Seconds of waiting that are a hang, whatever else this machine does.
_WALL_SECONDS = 60.0

#: Opened now: a target may give up the file system. See proc(5), ``status`` and ``clear_refs``.
_STATUS = os.open("/proc/self/status", os.O_RDONLY)
_FORGET = os.open("/proc/self/clear_refs", os.O_WRONLY)

_NOTICED_KB = 16 << 10

#: Address space above what the process has when it begins.
_ADDRESS_SPACE = 2 << 30


class TooLongError(BaseException):
    """No ``Exception``, so that no reader takes it for one of its own."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``where`` is the innermost line of ours: findings with the same one are one."""

    kind: str
    where: str
    text: str

    @property
    def name(self) -> str:
        """For a file."""
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{self.kind}-{self.where}")[:120]


def limit_memory() -> None:
    """For this process, for good: memory beyond it is a ``MemoryError``, no swapping machine."""
    _, hardest = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + _ADDRESS_SPACE, hardest))


def _address_space() -> int:
    """What this process has, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


def watch(*, wall: bool = True) -> None:
    """Have the limits of time raise. ``wall`` needs this process' only timer of that kind."""

    def late(_signal: int, _frame: FrameType | None) -> None:
        raise TooLongError

    signal.signal(signal.SIGPROF, late)
    if wall:
        signal.signal(signal.SIGALRM, late)


def check(target: Target, data: bytes, *, wall: bool = True) -> Finding | None:
    """Run one input; ``None`` if all is well. ``watch`` was called before."""
    before = _peak_kb()
    found: Finding | None = None
    try:
        signal.setitimer(signal.ITIMER_PROF, target.cpu_seconds)
        if wall:
            signal.setitimer(signal.ITIMER_REAL, _WALL_SECONDS)
        try:
            target.run(data)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            if wall:
                signal.setitimer(signal.ITIMER_REAL, 0)
    except target.allowed:
        pass
    except TooLongError as error:
        found = _finding("too-long", error)
    except (Exception, SystemExit) as error:
        found = _finding(type(error).__name__, error)
    grown = _peak_kb() - before
    if grown > _NOTICED_KB:
        os.pwrite(_FORGET, b"5", 0)  # the next input's peak is its own
    if found is None and grown > target.memory_mb * 1024:
        found = Finding("memory", f"{grown // 1024 // 128 * 128}MB", f"{grown:,} KiB for one input")
    return found


def _peak_kb() -> int:
    """The most memory that this process had; that of ``getrusage`` may be its parent's."""
    text = os.pread(_STATUS, 4096, 0)
    at = text.index(b"VmHWM:") + 6
    return int(text[at : text.index(b"kB", at)])


def _finding(kind: str, error: BaseException) -> Finding:
    where = "?"
    with contextlib.suppress(Exception):
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if Path(frame.filename).is_relative_to(ROOT)]
        frame = (ours or frames)[-1]
        where = f"{Path(frame.filename).name}:{frame.lineno}"
    return Finding(kind, where, "".join(traceback.format_exception(error))[-6000:])
