"""Trainings in processes of their own, as conversions run them: one import, a fork for each.

    python -m tests.support.training

Reads one request per line (``case``, ``out``, ``arguments``), runs that case of
``tests.support.training_cases`` in a forked child, and answers with a line when it ended.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any


class Trainings:
    """The process that forks; a context manager. ``run(case, ...)`` is the case's answer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.support.training"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=Path(__file__).resolve().parents[2],
        )

    def __enter__(self) -> Trainings:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def run(self, case: str, **arguments: Any) -> Any:
        """What the case returned; a dict with ``error`` for an error of the harness."""
        self._count += 1
        out = self._folder / f"{self._count}-{case}.json"
        request = {"case": case, "out": str(out), "arguments": arguments}
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        ended = self._process.stdout.readline()
        assert ended, "the training process ended"
        if not out.exists():
            return {"ended": int(ended)}
        answer = json.loads(out.read_text())
        assert "traceback" not in answer, answer["traceback"]
        return answer["value"]


def _child(request: dict[str, Any]) -> None:
    from harness.errors import HarnessError
    from tests.support import training_cases

    try:
        answer = {"value": getattr(training_cases, request["case"])(**request["arguments"])}
    except HarnessError as error:
        kind = type(error).__name__
        answer = {"value": {"error": kind, "message": error.message, "hint": error.hint}}
    except BaseException:
        answer = {"traceback": traceback.format_exc()}
    Path(request["out"]).write_text(json.dumps(answer))


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import tensorflow  # noqa: F401
    import tf_keras  # noqa: F401

    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                _child(json.loads(line))
            finally:
                os._exit(0)
        _, status = os.waitpid(pid, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")


if __name__ == "__main__":
    main()
