"""How hot a simulated device becomes, what power it takes, and at which clock it works.

One heat capacity ``C`` over one thermal resistance ``R`` to the air (the lumped, first-order
model: F. P. Incropera et al., "Fundamentals of Heat and Mass Transfer", ch. 5):

    C dT/dt = P - (T - ambient) / R

solved exactly, from one change of power to the next. Power is ``idle_w`` at rest; under load

    P = idle_w + (load_w - idle_w) * share * f / clock_mhz

with ``share`` the part of the device's fast processors that work: power of switching grows with the
frequency (P = C V^2 f at one voltage). An accelerator adds its own ``gpu_w``, ``nnapi_w``,
``npu_w`` or ``edgetpu_w`` in place of ``load_w - idle_w``, where the profile has it. From
``throttle_c`` on the clock ``f`` is ``throttled_mhz`` instead of ``clock_mhz``, until the device
is ``HYSTERESIS_C`` cooler.

A governor chooses the clock (kernel documentation, admin-guide/pm/cpufreq): ``performance`` keeps
the highest, ``powersave`` the lowest, the others (``ondemand``, ``schedutil``, ...) the lowest at
rest and the highest under load, which they see ``RAMP_S`` late.

Parameters (a profile's ``[simulation]`` table; the source of each stands in the profile):

    idle_w, load_w            power at rest and with every fast processor at work, W
    gpu_w, nnapi_w, npu_w, edgetpu_w   what an accelerator at work adds to ``idle_w``, W
    ambient_c                 the air, °C
    thermal_resistance_kw     R, K/W
    heat_capacity_jk          C, J/K
    throttle_c                °C from which the clock is lowered
    clock_mhz, throttled_mhz  the clock, and the lowered one, MHz
    min_mhz                   the lowest clock, MHz
    governor, governors       the one that the device starts with, and all that it knows
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.simulation.prediction.hardware import fast_cores

#: Assumed: so much cooler a device is before it raises its clock again.
HYSTERESIS_C = 2.0

#: Assumed: spread of a sensor's readings (normal, sigma), K.
SENSOR_NOISE_C = 0.15

#: How late a governor sees a load: ``ondemand``'s usual sampling period (assumed of all).
RAMP_S = 0.01

#: More changes of the clock than minutes between two readings hold: then it stays as it is.
_MOST_SWITCHES = 100_000

_NEVER = math.inf

POWER_PARAMETERS = ("idle_w", "load_w")
THERMAL_PARAMETERS = (
    "ambient_c",
    "thermal_resistance_kw",
    "heat_capacity_jk",
    "throttle_c",
    "clock_mhz",
    "throttled_mhz",
)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a device tells at a moment; ``None`` for what is not modelled."""

    temperature_c: float | None
    clock_mhz: float | None
    power_w: float | None


def load_share(profile: Mapping[str, Any], accelerator: str, threads: int) -> float:
    """The part of ``full_load_w`` that so many threads take; an accelerator is at work or not.

    Threads run on the fastest cores first, and little ones beside them hardly count.
    """
    if accelerator != "cpu":
        return 1.0
    clusters = profile.get("prediction", {}).get("cores")
    if clusters:
        cores = fast_cores([cluster["count"] for cluster in clusters])
    else:
        cores = profile.get("cores", threads)
    return min(1.0, threads / cores)


def full_load_w(profile: Mapping[str, Any], accelerator: str) -> float:
    """What a whole accelerator, or every fast processor, adds to the power at rest, W."""
    own = profile.get(f"{accelerator}_w")
    return float(profile["load_w"] - profile["idle_w"] if own is None else own)


class Thermal:
    """A device from rest on, by default at the temperature that it has there in the end.

    ``share`` is the part of its processors (of its ``accelerator``) that a load uses, 0 to 1. A
    profile without the parameters gives a device that never changes and tells nothing.

    For whoever times inferences: each takes ``slowdown`` times as long as at the full clock, and
    adds its ns to ``pending``; from ``until`` on, ``settle`` is due, and unless ``loaded`` it
    ``begin``s a load. Those are attributes, since
    they are asked for with every inference.
    """

    def __init__(
        self,
        profile: Mapping[str, Any],
        share: float,
        seed: int,
        *,
        accelerator: str = "cpu",
        temperature_c: float | None = None,
        hot: bool = False,
        governor: str = "",
    ) -> None:
        self._profile = profile
        self._seed = seed
        self._rng: np.random.Generator | None = None
        self._power = all(key in profile for key in POWER_PARAMETERS)
        self._heat = self._power and all(key in profile for key in THERMAL_PARAMETERS)
        self._governor = governor or profile.get("governor", "")
        self.loaded = False
        self._hot = False
        self._rested = 0.0
        self._idle_w = float(profile["idle_w"]) if self._power else 0.0
        self._load_w = share * full_load_w(profile, accelerator) if self._power else 0.0
        #: By what an inference takes longer than at the full clock.
        self.slowdown = 1.0
        #: ns of work since ``settle``, and after how many of them the clock changes.
        self.pending = 0.0
        self.until = _NEVER
        #: What has been used since the beginning, J.
        self.energy_j = 0.0
        self.temperature_c = 0.0
        if self._heat:
            self._tau = profile["thermal_resistance_kw"] * profile["heat_capacity_jk"]
            rise = profile["idle_w"] * profile["thermal_resistance_kw"]
            cool = profile["ambient_c"] + rise
            self.temperature_c = cool if temperature_c is None else temperature_c
            self._hot = hot or self.temperature_c >= profile["throttle_c"]
        self._rested = RAMP_S
        self._choose()

    @property
    def hot(self) -> bool:
        """Whether it has lowered its clock for its heat."""
        return self._hot

    @property
    def power_w(self) -> float:
        """What it takes now, W; only of a profile with power."""
        return self._idle_w + (self._load_w / self.slowdown if self.loaded else 0.0)

    @property
    def clock_mhz(self) -> float | None:
        """Its clock now: under load, or at rest."""
        if not self._heat:
            return None
        clock = float(self._profile["clock_mhz"])
        if not self.loaded and self._governor != "performance" and "min_mhz" in self._profile:
            return float(self._profile["min_mhz"])
        return clock / self.slowdown

    def begin(self, took: float) -> float:
        """ns of an inference that took ``took`` ns at the full clock, and may be the first of a
        load: after a rest the governor is late."""
        took *= self.slowdown
        if self.loaded:
            return took
        slow = 1.0
        if self._rested >= RAMP_S and self._governor not in ("", "performance", "powersave"):
            clock = self._profile.get("clock_mhz", 0.0)
            slow = max(1.0, clock / self.slowdown / self._profile.get("min_mhz", clock or 1.0))
        self.loaded, self._rested = True, 0.0
        self._choose()
        return took + min(took * (slow - 1), RAMP_S * 1e9 * (1 - 1 / slow))

    def settle(self) -> None:
        """Let the time go by that inferences have taken."""
        pending, self.pending = self.pending, 0.0
        if pending:
            self._go(pending * 1e-9)

    def work(self, seconds: float) -> None:
        """Let so much time go by under load."""
        self.settle()
        if not self.loaded:
            self.loaded, self._rested = True, 0.0
            self._choose()
        self._go(seconds)

    def rest(self, seconds: float) -> None:
        """Let so much time go by at rest."""
        self.settle()
        self._rested += seconds
        if self.loaded:
            self.loaded = False
            self._choose()
        self._go(seconds)

    def read(self) -> Reading:
        """What sensors say now, with their noise."""
        self.settle()
        noise = 0.0
        if self._heat:
            if self._rng is None:
                self._rng = np.random.default_rng([self._seed, 0x7E47])
            noise = float(self._rng.normal(0, SENSOR_NOISE_C))
        return Reading(
            self.temperature_c + noise if self._heat else None,
            self.clock_mhz,
            self.power_w if self._power else None,
        )

    def _choose(self) -> None:
        """The clock under load, and when heat will change it."""
        profile = self._profile
        clock = profile.get("clock_mhz", 0.0)
        chosen = profile["throttled_mhz"] if self._hot else clock
        if self._governor == "powersave":
            chosen = min(chosen, profile.get("min_mhz", chosen))
        self.slowdown = float(clock / chosen) if chosen else 1.0
        self.until = self._to_switch() * 1e9

    def _to_switch(self) -> float:
        """Seconds until heat changes the clock at the present power; infinite for never."""
        if not self._heat:
            return _NEVER
        limit = self._profile["throttle_c"] - (HYSTERESIS_C if self._hot else 0.0)
        if (self.temperature_c < limit) is self._hot:
            return 0.0
        left, end = self.temperature_c - self._end_c, limit - self._end_c
        # Towards the limit, and beyond it in the end.
        if left * end <= 0 or abs(end) >= abs(left):
            return _NEVER
        return float(self._tau * math.log(left / end))

    @property
    def _end_c(self) -> float:
        profile = self._profile
        return float(profile["ambient_c"] + self.power_w * profile["thermal_resistance_kw"])

    def _go(self, seconds: float) -> None:
        for _ in range(_MOST_SWITCHES):
            if not seconds > 0:
                break
            until = self._to_switch()
            step = min(seconds, until)
            seconds -= step
            self.energy_j += self.power_w * step
            if self._heat:
                end = self._end_c
                self.temperature_c = end + (self.temperature_c - end) * math.exp(-step / self._tau)
                if step == until:
                    # Exactly at its limit: what is a hair off would never get there.
                    limit = self._profile["throttle_c"]
                    self.temperature_c = limit - HYSTERESIS_C if self._hot else limit
                    self._hot = not self._hot
            self._choose()
