"""The Python agent on a clock of its own, on a device whose clock and heat follow a trace.

The agent is the real one, and reads ``/sys`` and ``/proc`` as on any Linux, in a folder that the
trace writes. Inferences are not run: they take what they cost at the frequency of that moment.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device_agents.python import agent, conditions
from device_agents.python.runtimes import find_runtime
from device_agents.python.system import System
from harness.devices import messages
from harness.metrics import TrialObservation

#: What one reading of the clock takes, ns.
_TICK_NS = 100


@dataclass(frozen=True)
class Trace:
    """A device: what an inference takes at ``mhz``, and what it is at at a second."""

    median_ns: float
    mhz: float
    at: Callable[[float], tuple[float, float]]
    """Seconds -> MHz and degrees Celsius."""


class _Clock:
    name = "played back"

    def __init__(self) -> None:
        self.now = 0

    def now_ns(self) -> int:
        self.now += _TICK_NS
        return self.now

    def resolution_ns(self) -> int:
        return _TICK_NS


class _System(System):
    def __init__(self, trace: Trace, clock: _Clock, root: Path) -> None:
        super().__init__()
        self._trace, self._clock, self._root = trace, clock, root

    def conditions(self) -> dict[str, Any]:
        mhz, celsius = self._trace.at(self._clock.now / 1e9)
        cpufreq = self._root / "sys/devices/system/cpu/cpu0/cpufreq"
        zone = self._root / "sys/class/thermal/thermal_zone0"
        for folder, files in (
            (cpufreq, {"scaling_cur_freq": mhz * 1000, "cpuinfo_max_freq": self._trace.mhz * 1000}),
            (zone, {"temp": celsius * 1000}),
        ):
            folder.mkdir(parents=True, exist_ok=True)
            for name, value in files.items():
                (folder / name).write_text(f"{value:.0f}\n")
        (zone / "type").write_text("cpu-thermal\n")
        found: dict[str, Any] = conditions.snapshot([0], root=str(self._root))
        return found


class _Interpreter:
    def __init__(self, real: Any, trace: Trace, clock: _Clock, seed: int) -> None:
        self._real, self._trace, self._clock = real, trace, clock
        self._rng = np.random.default_rng(seed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def invoke(self) -> None:
        mhz, _ = self._trace.at(self._clock.now / 1e9)
        noise = float(np.exp(self._rng.normal(0, 0.01)))
        self._clock.now += int(self._trace.median_ns * self._trace.mhz / mhz * noise)


class _Runtime:
    def __init__(self, trace: Trace, clock: _Clock, seed: int) -> None:
        self._real, self._made_of = find_runtime(), (trace, clock, seed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def interpreter(self, *arguments: Any) -> Any:
        return _Interpreter(self._real.interpreter(*arguments), *self._made_of)


def play(request: dict[str, Any], trace: Trace, root: Path, seed: int) -> TrialObservation:
    """One latency trial of the agent on that device, as the host would keep it."""
    clock, sent = _Clock(), bytearray()
    line = json.dumps(request).encode() + b"\n"
    code = agent.serve(
        lambda: line, sent.extend, clock, _System(trace, clock, root),
        find=lambda _wanted: _Runtime(trace, clock, seed),
    )  # fmt: skip
    said = [messages.decode(text, "played back") for text in bytes(sent).splitlines()]
    assert code == 0, said[-1]
    phases: dict[str, list[Any]] = {}
    for message in said:
        if message["type"] == "samples":
            phase, at, values = messages.samples(message, "played back")
            phases.setdefault(phase, []).append((at, values))
    return TrialObservation(
        {name: np.concatenate([values for _, values in parts]) for name, parts in phases.items()},
        messages.done_facts(said[-1], "played back"),
        {name: np.concatenate([at for at, _ in parts]) for name, parts in phases.items()},
    )
