"""A request as the Python agent reads and answers it, over a modelled device."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from device_agents.python import agent, wire
from device_agents.python.failures import AgentFailure
from fuzz.places import folder
from fuzz.target import Target
from harness.config.devices import find_device
from harness.domain import Device
from harness.transports.modelled.clock import ModelledClock
from harness.transports.modelled.runtime import ModelledRuntime
from harness.transports.modelled.state import DeviceBody
from harness.transports.modelled.system import ModelledSystem

#: Readings of the clock in one answer; a request may ask for hours.
_READINGS = 2000


class _Clock(ModelledClock):
    left = _READINGS

    def now_ns(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise AgentFailure("invoke_failed", "latency", "that is enough")
        return super().now_ns()


class _System(ModelledSystem):
    """Its processors are this process' own, which stays where it is."""

    def keep_to(self, cores: Sequence[int]) -> None:
        del cores


@cache
def _device() -> Device:
    from tests.support.models import adding_model

    (folder() / "m.tflite").write_bytes(adding_model((1, 4)))
    np.save(folder() / "s.npy", np.arange(24, dtype=np.float32).reshape(6, 4))
    os.chdir(folder())
    return find_device("raspberry-pi-4", ["simulated"])


def _run(data: bytes) -> None:
    device, clock = _device(), _Clock()
    system, body = _System(device), DeviceBody(device)
    lines: list[bytes] = []
    code = agent.serve(
        lambda: data.split(b"\n")[0],
        lines.append,
        clock,
        system,
        find=lambda _wanted: ModelledRuntime(
            device, clock, system, lambda: 1, lambda request: body.begin(request, 1)
        ),
    )
    said = [wire.decode(line) for line in lines]
    assert said[0]["type"] == "hello"
    assert said[-1]["type"] == ("error" if code else "done"), said[-1]


def _seeds() -> Sequence[bytes]:
    asked: list[dict[str, Any]] = [
        {"action": "probe"},
        {
            "action": "latency",
            "warmup_runs": 2,
            "warmup_seconds": 0.0,
            "min_runs": 5,
            "max_runs": 9,
            "min_seconds": 0.0,
            "max_seconds": 1.0,
            "steady_within": 0.05,
        },
        {"action": "sweep", "count": 4, "workers": 1, "outputs": [0], "reset_variables": False},
        {"action": "operators", "runs": 3, "warmup_runs": 1, "warmup_seconds": 0.0},
        {"action": "sustained", "seconds": 2.0, "idle_seconds": 1.0, "interval_seconds": 0.5},
        {
            "action": "scenario",
            "scenario": "single_stream",
            "min_queries": 3,
            "min_seconds": 0.0,
            "max_seconds": 1.0,
            "count": 4,
        },
        {
            "action": "scenario",
            "scenario": "server",
            "target_qps": 50.0,
            "latency_bound_ms": 20.0,
            "min_queries": 3,
            "min_seconds": 0.0,
            "max_seconds": 1.0,
            "seed": 1,
        },
        {
            "action": "scenario",
            "scenario": "multi_stream",
            "samples_per_query": 2,
            "min_queries": 2,
            "min_seconds": 0.0,
            "max_seconds": 1.0,
        },
        {
            "action": "scenario",
            "scenario": "offline",
            "min_queries": 5,
            "min_seconds": 0.0,
            "max_seconds": 1.0,
        },
    ]
    common = {
        "protocol": 1,
        "id": "a/b",
        "model": {"path": "m.tflite"},
        "samples": {"path": "s.npy"},
        "threads": 1,
        "accelerator": "cpu",
        "cores": [0],
        "preprocessing": {"scale": 0.5, "mean": [0.0], "std": [1.0]},
    }
    return [json.dumps({**common, **one}).encode() for one in asked]


TARGET = Target(
    _run,
    _seeds,
    kind="json",
    allowed=(),
    tokens=tuple(
        f'"{name}"'.encode()
        for name in (
            "count",
            "workers",
            "outputs",
            "seed",
            "max_runs",
            "min_runs",
            "samples_per_query",
            "loadgen",
            "steady_within",
            "interval_seconds",
        )
    ),
)
