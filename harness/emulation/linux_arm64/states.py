"""Folders of running targets: locked while one lives, removed by the next where none does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path


def new(running: Path) -> tuple[Path, int]:
    """A folder below ``running``, and the open handle that locks it; left ones are removed."""
    running.mkdir(exist_ok=True)
    with open(running / ".lock", "w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        for left in running.iterdir():
            if left.is_dir():
                _remove_if_left(left)
        folder = Path(tempfile.mkdtemp(dir=running))
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock


def _remove_if_left(folder: Path) -> None:
    """A machine that was switched off tidies nothing up."""
    with contextlib.suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
