"""Power at rest, then under load: see ``metrics.energy`` for what is made of it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.devices.energy import Meter, Named, find_meter
from harness.devices.session import Answer
from harness.domain import Stage
from harness.errors import UnsupportedError
from harness.orchestrate.passes.kind import Asking, Pass
from harness.orchestrate.passes.load import interval, load, loadable

#: Readings of each state without which there is no mean.
_LEAST = 2

#: After whatever the load wrote.
_SEQ = 1 << 30

_MODELLED = Named("modelled", 0.0, "the profile's idle_w and load_w are what is modelled")

Window = tuple[float, float]
Reading = tuple[float, float]


def _run(asking: Asking) -> tuple[Answer, Mapping[str, Any]]:
    if asking.session.transport.kind_is_simulated:
        return _modelled(asking)
    meter = find_meter(asking.device, asking.session.transport)
    try:
        return _metered(asking, meter)
    finally:
        meter.close()


def _metered(asking: Asking, meter: Meter) -> tuple[Answer, Mapping[str, Any]]:
    """Read the meter between the agent's messages; both are put on this host's clock."""
    policy = asking.policy
    readings: list[Reading] = []
    spans: dict[str, list[Window]] = {"idle": [], "interval": []}

    def told(phase: str, _at: NDArray[np.int64], values: NDArray[np.int64]) -> None:
        now = time.monotonic()
        if phase in spans:
            spans[phase].append((now - float(values[0]) / 1e9, now))
        if phase in ("idle", "runs"):
            readings.extend(meter.read())

    answer = load(asking, Stage.ENERGY, policy.energy_seconds, policy.idle_seconds, told)
    readings.extend(meter.read())
    trim = interval(policy.energy_seconds)
    found = [
        _within(readings, (spans[phase][0][0] + trim, spans[phase][-1][1] - trim / 2))
        for phase in ("idle", "interval")
    ]
    return answer, _keep(asking, meter.named, found)


def _modelled(asking: Asking) -> tuple[Answer, Mapping[str, Any]]:
    """A modelled device's power comes with its clock: nothing of this host's time is in it."""
    device = asking.device
    if "idle_w" not in device.simulation:
        raise UnsupportedError(
            f"{device.name}: its power is not modelled", hint="idle_w and load_w in its profile"
        )
    states: dict[str, list[Reading]] = {"idle": [], "interval": []}
    state = ""

    def told(phase: str, at: NDArray[np.int64], values: NDArray[np.int64]) -> None:
        nonlocal state
        if phase in states:
            state = phase
        elif phase == "power" and state:
            states[state].append((float(at[0]) / 1e9, float(values[0]) / 1e6))

    policy = asking.policy
    answer = load(asking, Stage.ENERGY, policy.energy_seconds, policy.idle_seconds, told)
    return answer, _keep(asking, _MODELLED, list(states.values()))


def _within(readings: Sequence[Reading], window: Window) -> list[Reading]:
    return [item for item in readings if window[0] <= item[0] <= window[1]]


def _keep(asking: Asking, named: Named, found: Sequence[Sequence[Reading]]) -> Mapping[str, Any]:
    """The readings to the store, in µW; raises ``UnsupportedError`` for too few."""
    for name, readings in zip(("at rest", "under load"), found, strict=True):
        if len(readings) < _LEAST:
            raise UnsupportedError(
                f"{asking.device.name}: the meter {named.name} gave "
                f"{len(readings)} reading(s) {name}",
                hint="raise idle_seconds and energy_seconds in the Policy, or let the meter read "
                "more often",
            )
    origin = found[0][0][0]
    phases = zip(("idle_power", "load_power"), found, strict=True)
    for seq, (phase, readings) in enumerate(phases, start=_SEQ):
        at = np.array([round((when - origin) * 1e9) for when, _ in readings], dtype=np.int64)
        microwatts = np.array([round(watts * 1e6) for _, watts in readings], dtype=np.int64)
        asking.store.append_samples(asking.trial_id, seq, phase, at, microwatts)
    return {"power_meter": named.as_facts()}


ENERGY = Pass(Stage.ENERGY, _run, loadable)
