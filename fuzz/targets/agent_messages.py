"""What an agent writes to its stdout, as the host reads it: lines, then messages."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from device_agents.python import wire
from fuzz.target import Target
from harness.devices import messages
from harness.errors import HarnessError
from harness.transports.lines import LineReader

_DEVICE = "device"
_SAMPLES = 8


def _run(data: bytes) -> None:
    # Cut where the bytes say, as a link would.
    step = data[0] + 1 if data else 1
    pieces = iter([data[at : at + step] for at in range(0, len(data), step)])
    reader = LineReader(lambda _timeout: next(pieces, b""))
    while line := reader.read_line(60):
        with contextlib.suppress(HarnessError):
            _one(line)


def _one(line: bytes) -> None:
    message = messages.decode(line, _DEVICE)
    read: dict[str, Callable[[], Any]] = {
        "hello": lambda: messages.check_hello(message, _DEVICE),
        "loaded": lambda: messages.loaded(message, _DEVICE),
        "operators": lambda: messages.profile(message, _DEVICE),
        "done": lambda: messages.done_facts(message, _DEVICE),
        "error": lambda: messages.reported(message, _DEVICE).one_line,
        "samples": lambda: _samples(message),
        "outputs": lambda: _outputs(message),
    }
    kind = message["type"]
    found = read[kind]() if kind in read else messages.clean(message)
    # What was read is kept in the store and shown on pages.
    text = json.dumps(found, allow_nan=False, ensure_ascii=False)
    text.encode("utf-8")
    assert text.isprintable(), "control characters have got through"


def _samples(message: dict[str, Any]) -> Any:
    for phases in (messages.TIMED, messages.SCENARIO_PHASES, messages.LOAD):
        with contextlib.suppress(HarnessError):
            phase, at, values = messages.samples(message, _DEVICE, phases)
            assert len(at) == len(values) > 0
            return [phase, at.tolist(), values.tolist()]
    return None


def _outputs(message: dict[str, Any]) -> Any:
    tensor, offset, values = messages.outputs(message, _DEVICE, _SAMPLES, asked=(0, 1))
    assert 0 <= offset <= offset + len(values) <= _SAMPLES
    return [tensor, offset, list(values.shape)]


def _seeds() -> Sequence[bytes]:
    spec = {"name": "x", "shape": [1, 8], "dtype": "int8", "scale": 0.5, "zero_point": -3}
    operator = {
        "name": "CONV_2D",
        "node": 0,
        "graph": 0,
        "time": 1200,
        "calls": 3,
        "times": [1, 2, 3],
        "delegated": False,
    }
    moment = {
        "at": 5,
        "busy_s": 1.0,
        "own_s": 0.5,
        "frequency_mhz": 1500.0,
        "frequency_max_mhz": 1800.0,
        "temperature_c": 50.5,
        "involuntary_switches": 3,
        "processors": 4,
    }
    said: list[dict[str, Any]] = [
        {
            "type": "hello",
            "protocol": 1,
            "agent": "python",
            "agent_version": "1",
            "platform": {"system": "Linux", "machine": "x86_64", "cpu_count": 4},
            "clock": {"name": "CLOCK_MONOTONIC", "resolution_ns": 1},
            "runtime": {"name": "litert", "version": "2.1"},
            "numpy": "2.0",
            "problem": None,
        },
        {"type": "loaded", "load_ns": 5, "init_ns": 9, "inputs": [spec], "outputs": [spec, spec]},
        *(
            {"type": "samples", "phase": phase, "unit": unit, "at": [1, 2], "values": [1000, 1100]}
            for phase, (unit, _, _) in messages._PHASES.items()
        ),
        {
            "type": "outputs",
            "tensor": 0,
            "offset": 3,
            "shape": [2, 3],
            "dtype": "int8",
            "data": "AAECAwQF",
        },
        {
            "type": "outputs",
            "tensor": 1,
            "offset": 0,
            "shape": [1, 1, 1],
            "dtype": "float32",
            "data": "AAAAAA==",
        },
        {
            "type": "operators",
            "unit": "ns",
            "runs": 3,
            "resolution_ns": 1,
            "elapsed": [9, 9, 9],
            "operators": [operator, operator],
        },
        {"type": "progress", "done": 1},
        {"type": "error", "kind": "unsupported", "stage": "load", "message": "no", "hint": "do"},
        {
            "type": "done",
            "id": "a",
            "facts": {
                "memory_peak_bytes": {"start": 1, "end": 2},
                "memory_resident_bytes": {"end": None},
                "threads_asked": 2,
                "threads_found": 2,
                "samples": 8,
                "delegated": {"accelerator": "xnnpack", "nodes": 3, "total": 4, "partitions": 1},
                "conditions": {"before": moment, "after": moment},
                "warmup": {"steady": True, "runs": 20, "reason": "steady"},
            },
        },
    ]
    lines = [wire.encode(message) for message in said]
    return [*lines, b"".join(lines), b"welcome\n" + lines[0]]


TARGET = Target(
    _run,
    _seeds,
    kind="json",
    tokens=tuple(
        f'"{name}"'.encode()
        for name in (
            "type",
            "values",
            "facts",
            "conditions",
            "warmup",
            "delegated",
            "resolution_ns",
            "times",
            "elapsed",
        )
    ),
)
