"""Reading what a device tells of itself, however odd."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.state import parse_state

KEYS = [
    *(f"cpu.{name}" for name in ("0.khz", "0.governor", "x.khz", "99999.khz")),
    *(f"thermal.{name}" for name in ("0.type", "0.temp", "status", "service")),
    *(f"battery.{name}" for name in ("level", "status", "temp")),
    *("power.ac", "throttled", "clock", "disk.free_kb", "stat.before", "stat.after"),
    *("library", "apex", "uptime"),
]


def test_an_android_phone_answers_through_its_services() -> None:
    state = parse_state(
        "battery.level 7\nbattery.status 3\nbattery.temp 312\npower.usb 1\nthermal.status 2\n"
        "thermal.service Temperature{mValue=38.1, mType=0, mName=CPU0, mStatus=0}\n"
        "thermal.service Temperature{mValue=41.7, mType=0, mName=CPU7, mStatus=0}\n"
        "thermal.service Temperature{mValue=55.0, mType=2, mName=battery, mStatus=0}\n"
        "property.ro.product.model Pixel 6\n"
    )
    assert (state.battery_percent, state.battery_status, state.powered) == (7, "Discharging", True)
    assert (state.temperature_c, state.thermal_status, state.battery_c) == (41.7, 2, 31.2)
    assert state.facts["property.ro.product.model"] == "Pixel 6"


@pytest.mark.parametrize(
    ("said", "throttled"), [("0x0", False), ("0x50000", False), ("0x50005", True), ("x", None)]
)
def test_a_raspberry_pi_says_whether_it_is_throttled_now(said: str, throttled: bool | None) -> None:
    assert parse_state(f"throttled throttled={said}\n").throttled is throttled


def test_sensors_that_are_off_are_no_temperature() -> None:
    text = (
        "thermal.0.type cpu-thermal\nthermal.0.temp -273000\nthermal.1.type cpu-thermal\n"
        "thermal.1.temp 0\n"
    )
    assert parse_state(text).temperature_c is None
    assert parse_state(text + "thermal.2.type soc\nthermal.2.temp 47\n").temperature_c == 47


def test_how_busy_the_processors_are() -> None:
    before = "stat.before cpu  100 0 100 800 0 0 0 0 0 0\n"
    assert parse_state(before + "stat.after cpu  130 0 120 850 0 0 0 0 0 0\n").busy == 0.5
    for after in ("cpu  90 0 100 900 0 0 0 0 0 0", "cpu  1 2", "cpu  a b c d e f g h", ""):
        assert parse_state(before + f"stat.after {after}\n").busy is None


def test_text_of_a_device_does_nothing_to_a_terminal() -> None:
    state = parse_state("cpu.0.governor \x1b[31mred\x07\nmodel \x1b]0;title\x07Pi\n")
    assert state.governor.isprintable() and all(map(str.isprintable, state.facts.values()))


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.text(max_size=40) | st.integers().map(str))))
def test_whatever_a_device_says_is_read_or_left(lines: list[tuple[str, str]]) -> None:
    state = parse_state("\n".join(f"{key} {value}" for key, value in lines))
    assert state.battery_percent is None or 0 <= state.battery_percent <= 100
    assert state.busy is None or 0 <= state.busy <= 1
    assert state.temperature_c is None or -40 < state.temperature_c < 150
    assert all(item.khz >= 0 and item.number < 1000 for item in state.processors)
    state.cores("big"), state.cores("0-3"), state.as_dict()
