"""The conversion process: imports TensorFlow once, then one forked child per conversion.

    python -m harness.recipes.making.worker CHILDREN

Reads one JSON request per line from stdin and writes JSON lines to stdout: any number with
``progress``, then one with ``ok`` for each request, in any order; at most ``CHILDREN``
at a time. A child that crashes, hangs or eats the memory takes only its own
conversion with it, and nothing it prints reaches the answers. TensorFlow is imported when
the first request needs it. Ends when stdin does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

#: Characters of an error that are kept.
MAX_ERROR = 8000

#: Seconds between two looks at the children.
_TICK = 0.02

#: Of Linux's prctl(2).
_PR_SET_PDEATHSIG = 1


def _convert(request: dict[str, Any], tell: Any) -> dict[str, Any]:
    from harness.recipes.making.conversion import convert

    return convert(request, tell)


def _build_model(request: dict[str, Any], _tell: Any) -> dict[str, Any]:
    """Make a built-in model's file: ``builtin``, ``out``."""
    from harness.recipes.making.builtin import BUILTINS

    started = time.perf_counter()
    BUILTINS[request["builtin"]][1](Path(request["out"]))
    return {"seconds": round(time.perf_counter() - started, 3)}


def _debug(request: dict[str, Any], tell: Any) -> dict[str, Any]:
    from harness.recipes.loss.task import debug

    return debug(request, tell)


def _preflight(request: dict[str, Any], _tell: Any) -> dict[str, Any]:
    from harness.recipes.trained import look_over

    look_over(request)
    return {}


_TASKS = {"preflight": _preflight, "convert": _convert, "build": _build_model, "debug": _debug}


def _child(request: dict[str, Any], pipe: int, answers: int) -> None:
    """In the forked child: do the task, answer through the pipe, end at once."""
    from harness.errors import HarnessError

    os.close(answers)  # or the orchestrator would not see the conversion process end
    os.setsid()  # so that what it starts can be found and ended with it
    _end_with_parent()
    log = os.open(request["out"] + ".log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    stream = os.fdopen(pipe, "w", buffering=1)

    def tell(progress: dict[str, Any]) -> None:
        stream.write(json.dumps({"progress": progress}) + "\n")

    try:
        answer: dict[str, Any] = {"ok": True, **_TASKS[request["task"]](request, tell)}
        answer["peak_memory_bytes"] = _memory("self", "VmHWM")
    except BaseException as error:  # whatever a converter raises is an answer, not an end
        text = error.message if isinstance(error, HarnessError) else str(error)
        answer = {"ok": False, "kind": type(error).__name__, "error": text[:MAX_ERROR]}
        if isinstance(error, HarnessError):
            answer["hint"] = error.hint
        if isinstance(error, OSError) and error.errno is not None:
            answer["errno"] = error.errno
    try:
        stream.write(json.dumps(answer) + "\n")
        stream.flush()
    finally:
        os._exit(0)


def _end_with_parent() -> None:
    """Have the kernel end this process when the conversion process is killed (Linux)."""
    import ctypes

    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _memory(pid: int | str, field: str) -> int:
    """A size in bytes from ``/proc/PID/status``; 0 where there is none."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def _session(leader: int) -> list[int]:
    """The processes of a session, its leader first."""
    members = [leader]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != leader:
            with contextlib.suppress(OSError):
                # Behind the name in brackets: state, parent, group, session (proc(5)).
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == leader:
                    members.append(int(entry.name))
    return members


class _Running:
    """A child and what came of it so far."""

    def __init__(self, request: dict[str, Any], answers: int) -> None:
        self.request = request
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reading)
            _child(request, writing, answers)
        os.close(writing)
        os.set_blocking(reading, False)
        # TensorFlow's own share, which the child has from the start.
        self._before = _memory("self", "RssAnon")
        self._pipe = reading
        self._buffer = b""
        self._deadline = time.monotonic() + request["timeout"]

    def messages(self) -> list[dict[str, Any]]:
        """What it said since the last call; progress puts its deadline off."""
        while True:
            try:
                chunk = os.read(self._pipe, 1 << 16)
            except BlockingIOError:
                break
            if not chunk:
                break
            self._buffer += chunk
        *lines, self._buffer = self._buffer.split(b"\n")
        if lines:
            self._deadline = time.monotonic() + self.request["timeout"]
        return [json.loads(line) for line in lines]

    def trouble(self) -> dict[str, Any] | None:
        """Why it has to be ended, if it has to."""
        limit = self.request.get("memory_limit") or 0
        used = _memory(self.pid, "RssAnon") - self._before if limit else 0
        if limit and used > limit:
            text = f"it used more than {limit / 1e9:.3g} GB of memory; the conversion was ended"
            return {"ok": False, "kind": "Memory", "error": text}
        if time.monotonic() > self._deadline:
            text = f"no result after {self.request['timeout']:g} s; the conversion was ended"
            return {"ok": False, "kind": "Timeout", "error": text}
        return None

    def end(self) -> None:
        """Kill it, and what it started."""
        for pid in _session(self.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def ended(self) -> dict[str, Any] | None:
        """A crash's answer once the process is gone; ``None`` while it lives."""
        gone, status = os.waitpid(self.pid, os.WNOHANG)
        if not gone:
            return None
        code = os.waitstatus_to_exitcode(status)
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        try:
            log = Path(self.request["out"] + ".log").read_text(errors="replace")
        except OSError:
            log = ""
        last = log.strip()[-MAX_ERROR:]
        error = f"the converter crashed ({name})" + (f": {last}" if last else "")
        return {"ok": False, "kind": "Crash", "error": error}

    def close(self) -> None:
        """Free the pipe."""
        os.close(self._pipe)


def _look(child: _Running, say: Any) -> bool:
    """Pass on what a child said; whether it is done."""
    answer = child.ended()
    for message in child.messages():
        if "progress" in message:
            say(child.request["id"], message)
        else:
            say(child.request["id"], message)
            if answer is None:
                os.waitpid(child.pid, 0)
            return True
    if answer is None and (answer := child.trouble()) is not None:
        child.end()
    if answer is not None:
        say(child.request["id"], answer)
    return answer is not None


def _import() -> None:
    """Import what conversions need, once, before forking."""
    for package in ("tensorflow", "tf_keras"):
        importlib.import_module(package)

    # The children's garbage collections would walk, and so copy, all of TensorFlow's objects.
    gc.collect()
    gc.freeze()


def main(parallel: int) -> None:
    """Serve until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the orchestrator decides when to end

    def say(number: int, message: dict[str, Any]) -> None:
        answers.write(json.dumps({"id": number, **message}) + "\n")

    waiting: deque[dict[str, Any]] = deque()
    running: list[_Running] = []
    buffer = b""
    open_input, imported = True, False
    while open_input:
        readable, _, _ = select.select([0], [], [], _TICK if running or waiting else 1.0)
        if readable:
            chunk = os.read(0, 1 << 16)
            open_input = bool(chunk)
            *lines, buffer = (buffer + chunk).split(b"\n")
            waiting.extend(json.loads(line) for line in lines)
        # What needs no TensorFlow goes first: it runs while TensorFlow is being imported.
        for request in [item for item in waiting if not item["tensorflow"]]:
            if len(running) < parallel:
                waiting.remove(request)
                running.append(_Running(request, answers.fileno()))
        if waiting and waiting[0]["tensorflow"] and not imported:
            _import()
            imported = True
        while waiting and len(running) < parallel:
            running.append(_Running(waiting.popleft(), answers.fileno()))
        for child in list(running):
            if _look(child, say):
                child.close()
                running.remove(child)
    for child in running:
        child.end()


if __name__ == "__main__":
    main(int(sys.argv[1]))
