"""The native agent against the Python Interpreter and the Python agent."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import (
    MODELS,
    RUNS,
    WARMUP,
    Line,
    bare_median,
    median_measured,
    ratios,
    shared,
)
from harness.devices.agents import AGENTS
from harness.devices.bundle import agent_bundle
from harness.domain import Device, DeviceKind
from harness.transports.local import LocalTransport

#: Rounds are short and many: the machine's own changes last for longer than one of them.
MORE_ROUNDS = 3


def native_command() -> list[str]:
    """What starts the native agent on this machine."""
    device = Device("here", DeviceKind.REAL, "local", link={"agent": "native"})
    program = AGENTS["native"](device)
    program.prepare(LocalTransport(device))
    return list(program.argv(lambda blob: str(blob.path)))


def ask(command: Sequence[str], request: dict[str, Any]) -> tuple[list[dict[str, Any]], float]:
    """Every message of a fresh agent, and the seconds from its start to its hello."""
    line = json.dumps({"protocol": 1, **request}).encode() + b"\n"
    begin = time.perf_counter()
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin and process.stdout
    hello = process.stdout.readline()
    seconds = time.perf_counter() - begin
    process.stdin.write(line)
    process.stdin.flush()
    messages = [json.loads(text) for text in [hello, *process.stdout]]
    process.wait()
    if messages[-1]["type"] != "done":
        raise RuntimeError(messages[-1])
    return messages, seconds


def run(rounds: int) -> Iterator[Line]:
    """Native agent over the Python Interpreter's loop (latency) and the Python agent (the rest)."""
    folder = shared() / "models" / "mlperf_tiny"
    native, python = native_command(), [sys.executable, str(agent_bundle().path)]
    with tempfile.TemporaryDirectory() as work:
        for name in MODELS:
            side = 32 if "resnet" in name else 96
            path = Path(work) / f"{side}.npy"
            images = np.random.default_rng(0).integers(0, 100, (1, side, side, 3), np.uint8)
            np.save(path, images)
            model = folder / f"{name}.tflite"
            request = {
                "action": "latency", "model": {"path": str(model)}, "samples": {"path": str(path)},
                "threads": 1, "warmup_runs": WARMUP, "warmup_seconds": 0, "min_runs": RUNS,
                "min_seconds": 0,
            }  # fmt: skip

            def native_median(request: dict[str, Any] = request) -> float:
                messages, _ = ask(native, request)
                return median_measured(messages)

            ours, theirs = [], []
            for index in range(rounds * MORE_ROUNDS):
                if index % 2:
                    ours.append(native_median())
                    theirs.append(bare_median(model, path))
                else:
                    theirs.append(bare_median(model, path))
                    ours.append(native_median())
            yield Line(f"{name}, native agent / bare loop", ratios(ours, theirs), 0.98, 1.02)
            peaks = [ask(agent, request)[0][-1]["facts"] for agent in (native, python)]
            ours, theirs = ([facts["memory_peak_bytes"]["end"]] for facts in peaks)
            yield Line(f"{name}, VmHWM, native / Python", ratios(ours, theirs), 0, 0.4)
    ours, theirs = [], []
    for _ in range(rounds * MORE_ROUNDS):
        ours.append(ask(native, {"action": "probe"})[1])
        theirs.append(ask(python, {"action": "probe"})[1])
    yield Line("start to hello, native / Python", ratios(ours, theirs), 0, 0.2)
