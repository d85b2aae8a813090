"""The conversion process: imports TensorFlow once, then one forked child per conversion.

    python -m harness.recipes.worker

Reads one JSON request per line from stdin and answers with one JSON line on stdout when
it is done, in any order; at most ``PARALLEL`` children at a time. A child that crashes
or hangs takes only its own conversion with it, and nothing it prints reaches the answers.
Ends when stdin does.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Children at a time.
PARALLEL = 2

#: Characters of an error that are kept; an answer must fit into a pipe at once.
MAX_ERROR = 8000
_PIPE_BYTES = 65_536


def convert(request: dict[str, Any]) -> dict[str, Any]:
    """Make one variant: ``source``, ``format``, ``recipe``, ``calibration``, ``out``."""
    import numpy as np
    import tensorflow as tf

    from harness.domain import Preprocessing
    from harness.models import READERS
    from harness.models.preprocess import to_real
    from harness.recipes import RECIPES

    recipe = RECIPES[request["recipe"]]
    build = READERS[request["format"]].converter
    if build is None or recipe.configure is None:
        raise ValueError(f"a {request['format']} source cannot be converted with {recipe.name}")
    source = build(Path(request["source"]))
    fixed = [size for size in source.input_shape or () if size is not None]
    if len(fixed) != len(source.input_shape or ()):
        raise ValueError(
            f"the model's input has free dimensions {source.input_shape}; "
            "fix them all but the batch before converting"
        )
    converter = source.converter
    if recipe.needs_calibration:
        samples = np.load(request["calibration"], allow_pickle=False)
        prepared = to_real(samples, Preprocessing(**request["preprocessing"]))
        if source.input_shape is None:
            raise ValueError("calibration feeds exactly one input, and this model has several")
        batches = prepared.reshape((len(prepared), 1, *fixed))

        def representative() -> Any:
            for batch in batches:
                yield [batch]

        converter.representative_dataset = representative
    recipe.configure(tf, converter)
    started = time.perf_counter()
    content = converter.convert()
    Path(request["out"]).write_bytes(content)
    return {"seconds": round(time.perf_counter() - started, 3)}


def build_model(request: dict[str, Any]) -> dict[str, Any]:
    """Make a built-in model's file: ``builtin``, ``out``."""
    from harness.recipes.builtin import BUILTINS

    started = time.perf_counter()
    BUILTINS[request["builtin"]][1](Path(request["out"]))
    return {"seconds": round(time.perf_counter() - started, 3)}


_TASKS = {"convert": convert, "build": build_model}


def _child(request: dict[str, Any], pipe: int) -> None:
    """In the forked child: do the task, answer through the pipe, end at once."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        answer: dict[str, Any] = {"ok": True, **_TASKS[request["task"]](request)}
        answer["peak_memory_bytes"] = _peak_memory()
    except BaseException as error:  # whatever a converter raises is an answer, not an end
        answer = {"ok": False, "kind": type(error).__name__, "error": str(error)[:MAX_ERROR]}
    try:
        os.write(pipe, json.dumps(answer).encode())
    finally:
        os._exit(0)


def _peak_memory() -> int | None:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None


@dataclass(frozen=True, slots=True)
class _Running:
    request: dict[str, Any]
    deadline: float
    pipe: int


def _fork(request: dict[str, Any]) -> tuple[int, _Running]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(request, writing)
    os.close(writing)
    return pid, _Running(request, time.monotonic() + request["timeout"], reading)


def _poll(pid: int, child: _Running) -> dict[str, Any] | None:
    """The answer of a child that has ended, or has to end; ``None`` while it works."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        if time.monotonic() <= child.deadline:
            return None
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        text = f"no result after {child.request['timeout']:g} s; the conversion was ended"
        return {"ok": False, "kind": "Timeout", "error": text}
    try:
        answer: dict[str, Any] = json.loads(os.read(child.pipe, _PIPE_BYTES))
    except ValueError:
        code = os.waitstatus_to_exitcode(status)
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return {"ok": False, "kind": "Crash", "error": f"the converter crashed ({name})"}
    return answer


def main() -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the orchestrator decides when to end
    import tensorflow  # noqa: F401  imported before forking, so that children need not
    import tf_keras  # noqa: F401

    waiting: deque[dict[str, Any]] = deque()
    running: dict[int, _Running] = {}
    buffer = b""
    open_input = True
    while open_input:
        readable, _, _ = select.select([0], [], [], 0.02 if running else 1.0)
        if readable:
            chunk = os.read(0, 1 << 16)
            open_input = bool(chunk)
            *lines, buffer = (buffer + chunk).split(b"\n")
            waiting.extend(json.loads(line) for line in lines)
        while waiting and len(running) < PARALLEL:
            pid, child = _fork(waiting.popleft())
            running[pid] = child
        for pid, child in list(running.items()):
            answer = _poll(pid, child)
            if answer is not None:
                answers.write(json.dumps({"id": child.request["id"], **answer}) + "\n")
                os.close(child.pipe)
                del running[pid]
    for pid in running:
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
