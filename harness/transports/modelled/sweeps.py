"""A variant over a dataset: really run once, and shared by hash among simulated devices.

What a runtime makes of a variant and of samples hangs on them and on the processor that really
computes, whose instructions choose the kernels: never on the modelled clock, nor on the modelled
processor, which computes nothing. So the outputs that the agent's own ``run_sweep`` sent are kept
as the lines that they were, and another device of the same runtime sends the same. Its times are
its own.
"""

from __future__ import annotations

import json
import platform
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from device_agents.python import wire
from device_agents.python.agent import ACTIONS, AGENT_VERSION
from device_agents.python.sweep import BLOCK, BLOCK_BYTES, run_sweep
from device_agents.python.system import Clock
from device_agents.python.tensors import load
from harness.cache import cache_dir, json_sha256, whole_file
from harness.errors import HarnessError
from harness.transports.modelled.content import content_of, host_runtime

#: Changes when the same request would give other lines.
VERSION = 2

#: Longer recordings are not kept: every device then runs the dataset for itself.
MOST_BYTES = 64 * 1024 * 1024

#: Messages of a running sweep that wait to be sent, at most.
_SAID = 64

#: Seconds between two signs of life of a device that waits for another's run.
_PATIENCE = 1.0

Message = Mapping[str, Any]
Emit = Callable[[Message], None]

_running: dict[str, threading.Lock] = {}
_guard = threading.Lock()


def shared_sweep(
    request: dict[str, Any], emit: Emit, runtime: Any, clock: Any, system: Any
) -> dict[str, Any]:
    """The agent's ``sweep`` on a simulated device; see ``run_sweep`` and PROTOCOL.md.

    Raises ``AgentFailure`` as that one does. ``elapsed_ns`` is one inference after the other, in
    modelled time.
    """
    loaded = load(request, runtime, clock, "sweep")
    emit(loaded.as_message())
    memory = system.peak_memory_bytes()
    begin = clock.now_ns()
    facts = _outputs(request, emit, system)
    clock.advance(sum(islice(loaded.interpreter.times(), facts["samples"])))
    row = sum(
        np.dtype(output["dtype"]).itemsize * int(np.prod(output["shape"]))
        for output in (loaded.outputs[index] for index in request.get("outputs", [0]))
    )
    blocks = -(-facts["samples"] // max(1, min(BLOCK, BLOCK_BYTES // max(1, row))))
    return {
        "samples": facts["samples"],
        "elapsed_ns": clock.now_ns() - begin,
        "workers": max(1, min(request.get("workers", 1), blocks)),
        "batch": facts["batch"],
        "memory_peak_bytes": {"end": memory},
        "delegated": loaded.delegated,
        "cores": system.cores(),
    }


def _outputs(request: dict[str, Any], emit: Emit, system: Any) -> dict[str, Any]:
    """Send every ``outputs`` message, from a recording where there is one; the real facts."""
    path = _recording(request)
    if path is None:
        return _really_run(request, emit, system)
    with _alone(path.stem, emit):
        facts = _replay(path, emit)
        if facts is None:
            facts = _record(path, request, emit, system)
    return facts


def _recording(request: Mapping[str, Any]) -> Path | None:
    """Where the outputs for a request are kept; ``None`` for one that ``run_sweep`` refuses."""
    try:
        contents = [content_of(request[name]["path"]).sha256 for name in ("model", "samples")]
    except (OSError, KeyError, TypeError):
        return None
    host = host_runtime()
    asked = [request.get(key) for key in ("count", "outputs", "preprocessing", "reset_variables")]
    made = [VERSION, AGENT_VERSION, host.name, host.version, _processor()]
    key = json_sha256([*made, contents, asked])
    return cache_dir("host", "sweeps") / f"{key}.jsonl"


@lru_cache(1)
def _processor() -> tuple[str, ...]:
    """This machine's processor: the cache may be one that several machines share.

    XNNPACK chooses its kernels by the instructions that there are, and sums of floats differ by
    the kernel.
    """
    found = [platform.machine()]
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        # x86 and Arm: the model, and the instructions, which a virtual machine may hide.
        names = ("model name", "CPU part", "flags", "Features")
        found += sorted({line for line in text.splitlines() if line.startswith(names)})
    return tuple(found)


@contextmanager
def _alone(key: str, emit: Emit) -> Iterator[None]:
    """One device at a time runs it; the others say meanwhile that they are alive."""
    with _guard:
        lock = _running.setdefault(key, threading.Lock())
    while not lock.acquire(timeout=_PATIENCE):
        emit({"type": "progress"})
    try:
        yield
    finally:
        lock.release()


def _replay(path: Path, emit: Emit) -> dict[str, Any] | None:
    """Send what was recorded; ``None``, and nothing is sent, where that is not whole."""
    try:
        facts: dict[str, Any] = json.loads(path.with_suffix(".json").read_bytes())
        if facts.pop("sha256") != content_of(path).sha256:
            return None
        file = open(path, "rb")  # noqa: SIM115  closed below: what is sent may fail for itself
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    with file:
        for line in file:
            emit(json.loads(line))
    return facts


def _record(path: Path, request: dict[str, Any], emit: Emit, system: Any) -> dict[str, Any]:
    lines: list[bytes] = []
    size = 0

    def keep(message: Message) -> None:
        nonlocal size
        emit(message)
        if message["type"] == "outputs" and size <= MOST_BYTES:
            lines.append(wire.encode(message))
            size += len(lines[-1])

    facts = _really_run(request, keep, system)
    kept = {key: facts[key] for key in ("samples", "batch")}
    if size <= MOST_BYTES:
        # Without it the next device runs the dataset for itself; this one has its outputs.
        with suppress(HarnessError):
            with whole_file(path) as part, open(part, "wb") as file:
                file.writelines(lines)
            with whole_file(path.with_suffix(".json")) as part:
                part.write_text(json.dumps({**kept, "sha256": content_of(path).sha256}))
    return kept


def _really_run(request: dict[str, Any], emit: Emit, system: Any) -> dict[str, Any]:
    """The agent's sweep on this machine's runtime and clock, in threads of its own.

    ``emit`` is called in this one. Left early, it lets the threads end first.
    """
    said: queue.Queue[Message | Future[dict[str, Any]]] = queue.Queue(_SAID)
    over = threading.Event()

    def say(what: Message | Future[dict[str, Any]]) -> None:
        while not over.is_set():
            with suppress(queue.Full):
                said.put(what, timeout=0.1)
                return
        if not isinstance(what, Future):
            raise BrokenPipeError

    def outputs_only(message: Message) -> None:
        if message["type"] in ("outputs", "progress"):
            say(message)

    here = {**request, "accelerator": "cpu", "threads": 1}
    with ThreadPoolExecutor(1, thread_name_prefix="sweep") as pool:
        running = pool.submit(run_sweep, here, outputs_only, host_runtime(), Clock(), system)
        running.add_done_callback(say)
        try:
            while not isinstance(message := said.get(), Future):
                emit(message)
        finally:
            over.set()
    return message.result()


#: What a simulated device answers: the agent's own actions, its sweeps shared.
MODELLED_ACTIONS = {**ACTIONS, "sweep": shared_sweep}
