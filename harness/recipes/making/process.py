"""The orchestrator's end of the conversion process."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.cache import cache_dir

#: Seconds between two looks at the wish to stop.
_TICK = 0.2

#: Held by the orchestrator of a work folder as long as it lives.
_LOCK = "lock"

#: Seconds in which a work folder is not looked at.
_YOUNG = 30.0

#: Seconds a conversion may take without a sign of life.
TIMEOUT = 900.0


class Worker:
    """A conversion process and what is in flight in it; a context manager.

    It dies with the orchestrator: its stdin ends, and with it the process and its children.
    ``memory_limit`` bytes are what one conversion may use beyond what TensorFlow itself
    occupies; 0: three quarters of the machine's memory. One for ``training`` works on one
    task at a time, with kernels that are faster and round otherwise on each kind of processor,
    which conversions must not.
    """

    def __init__(
        self, timeout: float = TIMEOUT, memory_limit: int = 0, *, training: bool = False
    ) -> None:
        _sweep(cache_dir("host", "work"))
        self._folder = cache_dir("host", "work", f"{os.getpid()}-{secrets.token_hex(4)}")
        self._lock = open(self._folder / _LOCK, "wb")  # noqa: SIM115  closed in __exit__
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._limits = {"timeout": timeout, "memory_limit": memory_limit or _most_memory()}
        environment = dict(os.environ)
        environment.update(
            TF_CPP_MIN_LOG_LEVEL="3",
            CUDA_VISIBLE_DEVICES="-1",
            TF_ENABLE_ONEDNN_OPTS="1" if training else "0",
            # Children end without cleaning up, TensorFlow's own temporary files included.
            TMPDIR=str(self._folder),
        )
        if training:  # each step frees and asks again for the same memory: keep it
            environment.update(
                MALLOC_MMAP_THRESHOLD_=str(1 << 32), MALLOC_TRIM_THRESHOLD_=str(1 << 34)
            )
        self._log = open(self._folder / "worker.log", "wb")  # noqa: SIM115  closed in __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.recipes.making.worker", "1" if training else "2"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            start_new_session=True,
        )
        self._count = 0
        self._open: set[int] = set()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()

    def part(self, number: int) -> Any:
        """Where the task of this number leaves its file."""
        return self._folder / f"{number}.out"

    def submit(self, task: dict[str, Any], *, tensorflow: bool = True) -> int:
        """Hand a task over; returns its number. Without ``tensorflow`` it need not wait for it."""
        assert self._process.stdin
        number = self._count
        self._count += 1
        self._open.add(number)
        request = {
            "id": number,
            "tensorflow": tensorflow,
            "out": str(self.part(number)),
            **self._limits,
            **task,
        }
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # messages() tells why the process has ended
        return number

    def messages(
        self, stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Progress and answers as they come, until every task has its answer, or ``stopped``.

        Tasks may be handed over meanwhile. When the process dies, there is one failure for
        each task that has no answer yet.
        """
        assert self._process.stdout
        pipe, buffer = self._process.stdout.fileno(), b""
        while self._open:
            readable, _, _ = select.select([pipe], [], [], _TICK)
            if stopped():
                return
            if not readable:
                continue
            chunk = os.read(pipe, 1 << 16)
            if not chunk:
                break
            *lines, buffer = (buffer + chunk).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "progress" not in message:
                    self._open.discard(message["id"])
                yield message["id"], message
        if not self._open:
            return
        tail = (self._folder / "worker.log").read_text(errors="replace")[-2000:]
        code = self._process.wait()
        why = "it was killed, perhaps for want of memory" if code == -9 else f"code {code}"
        for number in sorted(self._open):
            error = f"the conversion process ended ({why}): {tail}"
            hint = "the same command makes what is missing"
            yield number, {"ok": False, "kind": "Crash", "error": error, "hint": hint}
        self._open.clear()


def _sweep(folder: Path) -> None:
    """Remove what killed processes left behind: nobody holds its lock any more."""
    for item in folder.iterdir():
        try:
            # A folder is made a moment before it is locked.
            if time.time() - item.stat().st_mtime < _YOUNG:
                continue
            with open(item / _LOCK, "ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(item, ignore_errors=True)
        except OSError:
            continue


def _most_memory() -> int:
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * 0.75)
