"""The modelled heat against its closed form, and what metrics make of a load."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from harness.config.devices import find_device
from harness.config.simulations import POWER_PARAMETERS, THERMAL_PARAMETERS
from harness.domain import AdvisoryKind, Policy
from harness.metrics import Observations, TrialObservation, sustained
from harness.simulation import thermal
from harness.simulation.thermal import Thermal
from harness.transports import TRANSPORTS

PROFILE = {
    "idle_w": 2.0, "load_w": 6.0, "ambient_c": 25.0, "thermal_resistance_kw": 10.0,
    "heat_capacity_jk": 20.0, "throttle_c": 100.0, "clock_mhz": 1500.0, "throttled_mhz": 1000.0,
}  # fmt: skip


def test_names_of_parameters_are_those_that_a_profile_is_checked_for() -> None:
    assert POWER_PARAMETERS == thermal.POWER_PARAMETERS
    assert THERMAL_PARAMETERS == thermal.THERMAL_PARAMETERS


@pytest.mark.parametrize("step", [0.003, 0.05, 1.5])
def test_heat_follows_the_closed_form(step: float) -> None:
    device = Thermal(PROFILE, 1.0, 0)
    assert device.temperature_c == 45.0
    for _ in range(round(120 / step)):
        device.work(step)
    assert device.temperature_c == pytest.approx(85 - 40 * math.exp(-120 / 200), abs=0.05)
    for _ in range(round(300 / step)):
        device.rest(step)
    assert device.temperature_c == pytest.approx(
        45 + 40 * (1 - math.exp(-120 / 200)) * math.exp(-300 / 200), abs=0.05
    )
    assert device.slowdown == 1.0 and device.power_w == 2.0


def test_half_of_the_processors_take_half_of_the_power() -> None:
    device = Thermal(PROFILE, 0.5, 0)
    device.work(1)
    assert device.power_w == 4.0


def test_a_hot_device_lowers_its_clock_and_stays_at_the_limit() -> None:
    device = Thermal({**PROFILE, "throttle_c": 70.0}, 1.0, 0)
    seen = set()
    for _ in range(6000):
        device.work(0.1)
        seen.add(device.slowdown)
        assert device.temperature_c < 71.8
    assert seen == {1.0, 1.5}
    # At the lowered clock it takes 2 + 4 / 1.5 W, which is 71.7 °C in the end: never cool again.
    assert device.slowdown == 1.5 and device.power_w == pytest.approx(2 + 4 / 1.5)


def test_readings_are_seeded() -> None:
    one, same, other = (Thermal(PROFILE, 1.0, seed) for seed in (1, 1, 2))
    assert one.read() == same.read() != other.read()
    assert one.read().temperature_c == pytest.approx(45, abs=1)


def test_a_device_without_parameters_never_changes() -> None:
    device = Thermal({"idle_w": 1.0, "load_w": 2.0}, 1.0, 0)
    device.work(1e4)
    assert device.slowdown == 1.0
    assert device.read() == thermal.Reading(None, None, 2.0)
    assert Thermal({}, 1.0, 0).read() == thermal.Reading(None, None, None)


Ends = tuple[float, float] | None


def observed(slow: float, *, mhz: Ends = None, degrees: Ends = None) -> Observations:
    """Five minutes of which the last two are ``slow`` times as slow."""
    rng = np.random.default_rng(3)
    begins = np.arange(300) * 1_000_000_000
    level = np.where(np.arange(300) >= 180, slow, 1.0) * 1e6
    starts = (begins[:, None] + np.arange(50) * 20_000_000).ravel()
    durations = np.repeat(level, 50) * rng.lognormal(0, 0.03, 300 * 50)
    phases: dict[str, Any] = {
        "sustained": durations.astype(np.int64),
        "interval": np.full(300, 1_000_000_000),
        "runs": (1e9 / level).astype(np.int64),
    }
    at: dict[str, Any] = {"sustained": starts, "interval": begins, "runs": begins}
    for name, ends in (("frequency", mhz), ("temperature", degrees)):
        if ends is not None:
            phases[name] = (np.linspace(*ends, 300) * 1000).astype(np.int64)
            at[name] = begins
    trial = TrialObservation(phases, {}, at)
    return Observations(Policy(), 1000, passes={"sustained": (trial,)})


def test_the_first_and_the_last_minute() -> None:
    found = {
        item.name: item
        for item in sustained.measure(observed(1.5, mhz=(1500, 900), degrees=(45, 80)))
    }
    assert found["sustained_first"].value == pytest.approx(1.0, rel=0.01)
    assert found["sustained_last"].value == pytest.approx(1.5, rel=0.01)
    ratio = found["sustained_ratio"]
    assert ratio.low is not None and ratio.high is not None
    assert 1.45 < ratio.low < 1.5 < ratio.high < 1.55
    assert found["sustained_throughput"].value == pytest.approx((180e3 + 120 * 666) / 300, rel=0.01)
    assert found["temperature_start"].value == 45 and found["temperature_max"].value == 80
    assert found["frequency_start"].value == pytest.approx(1440, abs=5)
    assert found["frequency_min"].value == pytest.approx(900, abs=1)
    assert found["sustained_first"].n == 60_000


@pytest.mark.parametrize(
    ("slow", "mhz", "degrees", "said"),
    [
        (1.5, (1500, 900), None, "the clock went from"),
        (1.5, None, (45, 80), "the temperature from 45.0 to 80.0"),
        (1.5, None, None, None),  # slower, and nobody says why: not ours to call throttled
        (1.5, (1500, 1500), (45, 46), None),
        (1.0, (1500, 900), (45, 80), None),
        (1.01, (1500, 900), (45, 80), None),
    ],
)
def test_throttled_needs_both_a_slower_end_and_a_reason(
    slow: float, mhz: Any, degrees: Any, said: str | None
) -> None:
    found = list(sustained.throttled(observed(slow, mhz=mhz, degrees=degrees)))
    assert [item.kind for item in found] == ([AdvisoryKind.THROTTLED] if said else [])
    assert said is None or said in found[0].evidence


def intervals(lengths: list[int], runs: list[int]) -> Observations:
    begins = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    at = {"interval": begins, "sustained": begins, "runs": begins[: len(runs)]}
    phases = {
        "interval": np.array(lengths), "sustained": np.full(len(lengths), 1000),
        "runs": np.array(runs),
    }  # fmt: skip
    trial = TrialObservation(phases, {}, at)
    return Observations(Policy(), 1, passes={"sustained": (trial,)})


def test_an_interval_longer_than_the_window_is_the_last_one() -> None:
    second = 1_000_000_000
    found = sustained.measure(intervals([second, second, second, 9 * second], [5, 5, 5, 7]))
    assert found and all(math.isfinite(item.value) for item in found)
    assert {item.name: item.n for item in found}["sustained_last"] == 7


def test_intervals_that_took_no_time_have_no_throughput() -> None:
    begins = np.arange(3)
    at = dict.fromkeys(("interval", "sustained", "runs"), begins)
    phases = {"interval": begins * 0, "sustained": begins + 5, "runs": begins + 1}
    for times in (at, dict.fromkeys(at, begins * 0)):
        trial = TrialObservation(phases, {}, times)
        found = sustained.measure(Observations(Policy(), 1, passes={"sustained": (trial,)}))
        assert all(math.isfinite(item.value) for item in found)
        assert "sustained_throughput" not in {item.name for item in found}


def test_intervals_without_their_runs_are_no_load() -> None:
    assert sustained.measure(intervals([10**9] * 4, [5, 5])) == ()


def test_runs_do_not_overflow() -> None:
    found = sustained.measure(intervals([10**9] * 4, [1 << 62] * 4))
    assert {item.name: item.value for item in found}["sustained_throughput"] == float(1 << 62)


def test_too_little_to_compare() -> None:
    for phases in (
        {},
        {"sustained": np.array([5])},
        {"interval": np.array([1]), "runs": np.array([1])},
    ):
        trial = TrialObservation(phases, {}, {key: value * 0 for key, value in phases.items()})
        nothing = Observations(Policy(), 1, passes={"sustained": (trial,)})
        assert sustained.measure(nothing) == () and not list(sustained.throttled(nothing))


def test_a_shipped_device_has_both() -> None:
    device = find_device("raspberry-pi-4", TRANSPORTS)
    assert {*thermal.POWER_PARAMETERS, *thermal.THERMAL_PARAMETERS} <= device.simulation.keys()
