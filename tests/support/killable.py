"""Runs in processes that can be killed: one that has imported everything forks the others.

    python -m tests.support.killable

Reads lines of JSON: arguments of ``harness.run``, and ``kill_after``, seconds or null. Each is
served by a fork; how it ended is printed, the exit code, negative for a signal.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


class Killable:
    """The host side of that process."""

    def __init__(self, cwd: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.killable"], cwd=cwd, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def run(self, *, kill_after: float | None = None, **arguments: Any) -> int:
        """The exit code of a run that is killed unless it has ended by then."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps({"kill_after": kill_after, **arguments}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """No further runs."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def _serve() -> None:
    import harness
    import harness.api.runs
    import harness.config.suites
    import harness.orchestrate.run

    for line in sys.stdin:
        arguments = json.loads(line)
        after = arguments.pop("kill_after")
        child = os.fork()
        if child == 0:
            os.dup2(2, 1)
            outcome = harness.run(**arguments).outcome
            assert outcome is not None
            os._exit(outcome.exit_code)
        print(_ended(child, after), flush=True)


def _ended(child: int, after: float | None) -> int:
    """The exit code of our own child, killed where it takes longer; it is not waited for before."""
    deadline = None if after is None else time.monotonic() + after
    while True:
        over = deadline is not None and time.monotonic() >= deadline
        if over:
            os.kill(child, signal.SIGKILL)
        found, status = os.waitpid(child, 0 if over or deadline is None else os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)


if __name__ == "__main__":
    _serve()
