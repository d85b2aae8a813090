"""How hot a simulated device becomes, what power it takes, and when it lowers its clock.

One heat capacity ``C`` over one thermal resistance ``R`` to the air (the lumped, first-order
model: F. P. Incropera et al., "Fundamentals of Heat and Mass Transfer", ch. 5):

    C dT/dt = P - (T - ambient) / R

solved exactly for a step of constant power ``P``. Power is ``idle_w`` at rest; under load

    P = idle_w + (load_w - idle_w) * share * f / clock_mhz

with ``share`` the part of the device's processors that work: power of switching grows with the
frequency (P = C V^2 f at one voltage). From ``throttle_c`` on the clock ``f`` is
``throttled_mhz`` instead of ``clock_mhz``, until the device is ``HYSTERESIS_C`` cooler.

Parameters (a profile's ``[simulation]`` table; the source of each stands in the profile):

    idle_w, load_w            power at rest and with every processor at work, W
    ambient_c                 the air, °C
    thermal_resistance_kw     R, K/W
    heat_capacity_jk          C, J/K
    throttle_c                °C from which the clock is lowered
    clock_mhz, throttled_mhz  the clock, and the lowered one, MHz
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Assumed: so much cooler a device is before it raises its clock again.
HYSTERESIS_C = 2.0

#: Assumed: spread of a sensor's readings (normal, sigma), K.
SENSOR_NOISE_C = 0.15

#: Heat is followed in steps of at most so many seconds: a clock is lowered that much late.
_STEP_S = 0.05

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


class Thermal:
    """A device from rest on, at the temperature that it has there in the end.

    ``share`` is the part of its processors that a load uses, 0 to 1. A profile without the
    parameters gives a device that never changes and tells nothing.
    """

    def __init__(self, profile: Mapping[str, Any], share: float, seed: int) -> None:
        self._profile = profile
        self._share = share
        self._rng = np.random.default_rng([seed, 0x7E47])
        self._power = all(key in profile for key in POWER_PARAMETERS)
        self._heat = self._power and all(key in profile for key in THERMAL_PARAMETERS)
        self._loaded = False
        self._hot = False
        self._pending = 0.0
        self.temperature_c = 0.0
        if self._heat:
            rise = profile["idle_w"] * profile["thermal_resistance_kw"]
            self.temperature_c = profile["ambient_c"] + rise

    @property
    def slowdown(self) -> float:
        """By what an inference takes longer than at the full clock."""
        if not self._hot:
            return 1.0
        return float(self._profile["clock_mhz"] / self._profile["throttled_mhz"])

    @property
    def power_w(self) -> float:
        """What it takes now, W; only of a profile with power."""
        idle = float(self._profile["idle_w"])
        if not self._loaded:
            return idle
        return idle + (float(self._profile["load_w"]) - idle) * self._share / self.slowdown

    def work(self, seconds: float) -> None:
        """Let so much time go by under load."""
        self._go(seconds, loaded=True)

    def rest(self, seconds: float) -> None:
        """Let so much time go by at rest."""
        self._go(seconds, loaded=False)

    def read(self) -> Reading:
        """What sensors say now, with their noise."""
        noise = float(self._rng.normal(0, SENSOR_NOISE_C))
        return Reading(
            self.temperature_c + noise if self._heat else None,
            float(self._profile["clock_mhz"]) / self.slowdown if self._heat else None,
            self.power_w if self._power else None,
        )

    def _go(self, seconds: float, *, loaded: bool) -> None:
        if loaded is not self._loaded:
            self._step(self._pending)
            self._pending, self._loaded = 0.0, loaded
        self._pending += seconds
        while self._pending >= _STEP_S:
            self._step(_STEP_S)
            self._pending -= _STEP_S

    def _step(self, seconds: float) -> None:
        if not self._heat or not seconds:
            return
        profile = self._profile
        resistance = profile["thermal_resistance_kw"]
        end = profile["ambient_c"] + self.power_w * resistance
        share = math.exp(-seconds / (resistance * profile["heat_capacity_jk"]))
        self.temperature_c = end + (self.temperature_c - end) * share
        limit = profile["throttle_c"] - (HYSTERESIS_C if self._hot else 0.0)
        self._hot = self.temperature_c >= limit
