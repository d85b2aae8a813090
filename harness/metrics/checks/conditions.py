"""How a device was around one trial, from what its agent and the host's look at it told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.metrics.observations import TrialObservation


@dataclass(frozen=True, slots=True)
class Conditions:
    """What is known of one trial; ``None`` where the device does not tell.

    ``seconds`` between the two looks, ``others_s`` CPU seconds that other processes used in
    between, ``pushed_aside`` how often a second the agent had to make room for others. ``mhz`` is
    the clock before and after, ``celsius`` the highest temperature.
    """

    seconds: float | None = None
    others_s: float | None = None
    pushed_aside: float | None = None
    before_mhz: float | None = None
    after_mhz: float | None = None
    celsius: float | None = None

    @property
    def mhz(self) -> tuple[float, ...]:
        """The frequencies that are known."""
        return tuple(mhz for mhz in (self.before_mhz, self.after_mhz) if mhz)


def of_trial(trial: TrialObservation) -> Conditions:
    """What is known of a trial: ``conditions`` of PROTOCOL.md and ``readiness`` of the host.

    Nothing in them is relied on: what is not a sensible number counts as not told.
    """
    told, looked = _pair(trial, "conditions"), _pair(trial, "readiness")
    before, after = told
    elapsed = _difference(told, "at")
    seconds = elapsed / 1e9 if elapsed else None
    busy, own = _difference(told, "busy_s"), _difference(told, "own_s")
    switches = _difference(told, "involuntary_switches")
    temperatures = [
        celsius for state in (*told, *looked) if (celsius := _number(state, "temperature_c"))
    ]
    mhz = _number(before, "frequency_mhz"), _number(after, "frequency_mhz")
    if None in mhz:
        mhz = _fixed_mhz(looked[0]), _fixed_mhz(looked[1])
    return Conditions(
        seconds=seconds,
        others_s=None if busy is None or own is None else max(0.0, busy - own),
        pushed_aside=None if switches is None or not seconds else switches / seconds,
        before_mhz=mhz[0],
        after_mhz=mhz[1],
        celsius=max(temperatures, default=None),
    )


def _pair(trial: TrialObservation, name: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    found = trial.facts.get(name)
    found = found if isinstance(found, Mapping) else {}
    before, after = found.get("before"), found.get("after")
    return (
        before if isinstance(before, Mapping) else {},
        after if isinstance(after, Mapping) else {},
    )


def _number(state: Mapping[str, Any], key: str) -> float | None:
    value = state.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None


def _difference(pair: tuple[Mapping[str, Any], Mapping[str, Any]], key: str) -> float | None:
    """How much a counter grew; one that went back tells nothing."""
    before, after = (0.0 if state.get(key) == 0 else _number(state, key) for state in pair)
    return after - before if before is not None and after is not None and after >= before else None


def _fixed_mhz(state: Mapping[str, Any]) -> float | None:
    """The highest clock that the host saw, if nothing but the device's limits moves it.

    Under another governor a device that waits for its next trial is slow of its own accord.
    """
    khz = state.get("khz")
    if state.get("governor") != "performance" or not isinstance(khz, Mapping):
        return None
    found = [mhz for core in khz if (mhz := _number(khz, core))]
    return max(found) / 1000 if found else None
