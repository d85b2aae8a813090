"""One orchestrator per run, by a lock of this machine's kernel, which frees a killed one's."""

from __future__ import annotations

import fcntl
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from harness.cache import cache_dir, lock_file
from harness.errors import StoreError

#: Who only asks whether a run goes on holds its lock for a moment.
_TRIES, _BETWEEN_S = 5, 0.02


def _name(run_id: str) -> str:
    return "run-" + re.sub(r"[^A-Za-z0-9-]", "_", run_id)


@contextmanager
def run_lock(run_id: str) -> Iterator[None]:
    """Hold the lock of a run; raises ``StoreError`` where another process has it."""
    with lock_file(_name(run_id)) as file:
        for left in reversed(range(_TRIES)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                if left:
                    time.sleep(_BETWEEN_S)
                    continue
                raise StoreError(
                    f"run {run_id} is going on in another process",
                    hint="wait for it to end, or end it, then resume",
                ) from None
        yield


def was_killed(run_id: str) -> bool:
    """Whether a run that says ``running`` went on here, and has no process here any more.

    Nothing is known of one that another machine that shares the store began: ``False``; nor of one
    that was killed here and is resumed there, or with another cache: ``True``, though it goes on.
    """
    try:
        with (cache_dir("locks") / f"{_name(run_id)}.lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:  # there is no such file, or its lock is held
        return False
    return True
