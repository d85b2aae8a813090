"""Power as meters tell it, however odd, and what an inference comes to."""

from __future__ import annotations

import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.devices.energy import (
    GAUGES,
    DeviceMeter,
    ExternalMeter,
    battery,
    external,
    find_meter,
    pmic,
    rapl,
)
from harness.devices.energy.meter import parse_lines
from harness.domain import AdvisoryKind, Device, DeviceKind, Policy
from harness.errors import UnsupportedError
from harness.metrics import Observations, TrialObservation, energy
from harness.transports.local import LocalTransport

LOCAL = Device("here", DeviceKind.REAL, "local")

#: As a Raspberry Pi 5 prints it.
PI5 = """\
 3V7_WL_SW_A current(0)=0.00390372A
   3V3_SYS_A current(1)=0.06440892A
   1V8_SYS_A current(2)=0.19616400A
  VDD_CORE_A current(7)=1.23100000A
   3V7_WL_SW_V volt(8)=3.73000000V
   3V3_SYS_V volt(9)=3.31000000V
   1V8_SYS_V volt(10)=1.80000000V
  VDD_CORE_V volt(15)=0.87654000V
     EXT5V_V volt(24)=5.15000000V
      BATT_V volt(25)=0.00000000V
"""


def write(root: Path, files: dict[str, str]) -> str:
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value + "\n")
    return str(root)


def phone(**changes: str) -> dict[str, str]:
    found = {
        "battery/type": "Battery", "battery/status": "Discharging",
        "battery/current_now": "-412000", "battery/voltage_now": "3850000",
        "usb/type": "USB", "usb/online": "0",
    } | {key.replace("__", "/"): value for key, value in changes.items()}  # fmt: skip
    return {f"sys/class/power_supply/{name}": value for name, value in found.items() if value}


def test_a_phones_gauge(tmp_path: Path) -> None:
    meter = DeviceMeter(LocalTransport(LOCAL), "battery", write(tmp_path, phone()))
    ((when, watts),) = meter.read()
    assert watts == pytest.approx(0.412 * 3.85) and abs(when - time.monotonic()) < 5
    write(tmp_path, phone(battery__current_now="650000"))  # a driver of the other sign
    assert meter.read()[0][1] == pytest.approx(0.65 * 3.85)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"usb__online": "1"}, "on a cable"),
        ({"battery__status": "Charging"}, "Charging"),
        ({"battery__status": "Full"}, "charger's current"),
        ({"battery__current_now": "-412"}, "counts in another unit"),
        ({"battery__current_now": "lots"}, "tells no current"),
        ({"battery__current_now": ""}, "tells no current"),
        ({"battery__voltage_now": "-3850000"}, "tells no current"),
        ({"battery__current_now": "999999999999"}, "makes no sense"),
        ({"battery__type": "UPS"}, "no battery"),
    ],
)
def test_a_gauge_that_cannot_tell(tmp_path: Path, changes: dict[str, str], said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        DeviceMeter(LocalTransport(LOCAL), "battery", write(tmp_path, phone(**changes)))


def test_the_power_chip_of_a_raspberry_pi_5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "vcgencmd"
    tool.write_text(f'#!/bin/sh\n[ "$1" = pmic_read_adc ] || exit 1\ncat <<END\n{PI5}END\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    ((_, watts),) = DeviceMeter(LocalTransport(LOCAL), "pmic").read()
    rails = 0.00390372 * 3.73 + 0.06440892 * 3.31 + 0.196164 * 1.8 + 1.231 * 0.87654
    assert watts == pytest.approx(rails)


def test_both_forms_of_the_power_chip() -> None:
    newer = "adc VDD_CORE_A current(7)=1.5A\nadc VDD_CORE_V voltage(15)=0.9V\n"
    older = "adc VDD_CORE_A=1.5A\nadc VDD_CORE_V=0.9V\n"
    for text in (newer, older):
        assert pmic.watts(parse_lines(text)) == pytest.approx(1.35)
    for text in ("", "adc VCHI initialization failed", "adc VDD_CORE_A current(7)=1.5V\n"):
        with pytest.raises(UnsupportedError):
            pmic.watts(parse_lines(text))


def counters(energy_uj: int, uptime: float, name: str = "package-0") -> dict[str, str]:
    zone = "sys/class/powercap/intel-rapl:0"
    return {
        "proc/uptime": f"{uptime:.2f} 100.0",
        f"{zone}/name": name,
        f"{zone}/energy_uj": str(energy_uj),
        f"{zone}/max_energy_range_uj": "262143328850",
        "sys/class/powercap/intel-rapl:0:0/name": "core",
        "sys/class/powercap/intel-rapl:0:0/energy_uj": "777",
    }


def test_energy_counters_and_where_they_begin_anew(tmp_path: Path) -> None:
    meter = DeviceMeter(LocalTransport(LOCAL), "rapl", write(tmp_path, counters(262143000000, 10)))
    write(tmp_path, counters(262143320000, 10.5))
    assert meter.read()[0][1] == pytest.approx(0.32 / 0.5)
    write(tmp_path, counters(991149, 11))
    assert meter.read()[0][1] == pytest.approx(2.0, rel=1e-6)  # 1 J in half a second
    assert meter.read() == []  # no time has gone by
    write(tmp_path, counters(1, 12) | {"sys/class/powercap/intel-rapl:0/energy_uj": "x"})
    with pytest.raises(UnsupportedError, match="no numbers"):
        meter.read()


def test_energy_counters_that_only_root_may_read() -> None:
    lines = {"intel-rapl:0.name": "package-0", "intel-rapl:0.energy_uj": "denied"}
    with pytest.raises(UnsupportedError, match="root only"):
        rapl.watts(lines)


@given(st.text(max_size=300))
def test_whatever_a_device_says(text: str) -> None:
    keys = ["b.type Battery", "b.status Discharging", "b.current_now", "adc X_A", "adc X_V",
            "intel-rapl:0.name package-0", "intel-rapl:0.energy_uj"]  # fmt: skip
    lines = parse_lines("\n".join(f"{key} {text}" for key in keys))
    for gauge in GAUGES.values():
        try:
            watts = gauge.watts(lines, lines)
        except UnsupportedError as error:
            assert error.message.isprintable()
        else:
            assert watts is None or 0 <= watts <= 2000


def test_this_machine_says_of_each_meter_why_not_or_has_one() -> None:
    try:
        meter = find_meter(LOCAL, LocalTransport(LOCAL))
    except UnsupportedError as error:
        assert all(f"{kind}: " in error.message for kind in GAUGES) and "power_meter" in str(
            error.hint
        )
    else:
        assert meter.named.name in GAUGES


def program(folder: Path, text: str) -> ExternalMeter:
    path = folder / "meter.py"
    path.write_text("import sys, time\n" + textwrap.dedent(text))
    return ExternalMeter([sys.executable, "-u", str(path)], 1.0)


def read(meter: ExternalMeter, count: int, seconds: float = 10) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    deadline = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < deadline:
        found.extend(meter.read())
        time.sleep(0.02)
    return found


def test_a_meter_of_ones_own_with_a_clock_of_its_own(tmp_path: Path) -> None:
    began = time.monotonic()
    meter = program(
        tmp_path,
        """
        print("# a meter\\n")
        for n in range(1000):
            print(f"{5000 + n / 50:.3f}   {2 + n % 2}.25e0", flush=False)
            sys.stdout.flush() if n % 10 == 9 else None
            time.sleep(0.02)
        """,
    )
    try:
        found = read(meter, 20)
    finally:
        meter.close()
    times = np.array([when for when, _ in found])
    assert len(found) >= 20 and {watts for _, watts in found} == {2.25, 3.25}
    # Lines that came ten at a time are put where they belong. By how much the two clocks differ is
    # told by the line that came soonest: one that is later the soonest yet moves all behind it.
    odd = np.abs(np.diff(times) - 0.02) > 0.001
    assert odd.sum() <= 3 and np.all(np.diff(times)[odd] < 0.02), np.diff(times)
    assert began <= times[0] < began + 5
    assert meter._process.wait(2) is not None  # nothing is left running


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('print("0 1"); print("watts: lots")', "printed 'watts: lots'"),
        ('print("0.5 nan")', "printed '0.5 nan'"),
        ('print("1 2"); print("0.5 2")', "makes no sense"),
        ('print("1 1e9")', "makes no sense"),
        ('print("1 -3")', "makes no sense"),
        ('print("9" * 5000)', "for '<seconds> <watts>'"),
        ('print("\\x1b[31m1 2")', "for '<seconds> <watts>'"),
        ('print("0 1"); print("no meter on USB", file=sys.stderr); sys.exit(3)', "exit code 3"),
        ("time.sleep(60)", "printed nothing for 0.3 s"),
        ('print("0 1"); time.sleep(60)', "printed nothing for 0.3 s"),
    ],
)
def test_a_meter_that_goes_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.setattr(external, "SILENCE", 0.3 if "sleep" in text else 10)
    meter = program(tmp_path, text)
    try:
        with pytest.raises(UnsupportedError) as caught:
            read(meter, 10_000)
        assert said in caught.value.message and caught.value.message.isprintable()
    finally:
        began = time.monotonic()
        meter.close()
        assert time.monotonic() - began < 5


def test_a_meter_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="power meter: cannot start"):
        ExternalMeter([str(tmp_path / "missing")], 1.0)


def observed(idle: Any, load: Any, accuracy: float = 0.0) -> Observations:
    phases = {
        "idle_power": np.round(np.asarray(idle) * 1e6).astype(np.int64),
        "load_power": np.round(np.asarray(load) * 1e6).astype(np.int64),
        "runs": np.array([600, 400]),
        "interval": np.array([1_000_000_000, 1_000_000_000]),
    }
    facts = {"power_meter": {"name": "m", "accuracy_percent": accuracy}}
    return Observations(Policy(), 1, passes={"energy": (TrialObservation(phases, facts),)})


def test_energy_of_an_inference() -> None:
    found = {item.name: item for item in energy.measure(observed([2, 2, 2], [5, 5, 5], 3.0))}
    net = found["energy"]
    assert net.value == pytest.approx(3 * 2 / 1000 * 1e3)
    assert found["energy_gross"].value == pytest.approx(10)
    assert net.low is not None and net.high is not None
    half = 2 * np.sqrt((0.03 * 2) ** 2 / 3 + (0.03 * 5) ** 2 / 3) * 2
    assert (net.high - net.low) / 2 == pytest.approx(half) and net.n == 1000


def test_intervals_of_energy_hold_the_truth() -> None:
    rng = np.random.default_rng(7)
    inside = 0
    for _ in range(400):
        made = observed(rng.normal(2, 0.3, 30), rng.normal(5, 0.5, 40))
        net = energy.measure(made)[0]
        assert net.low is not None and net.high is not None
        inside += net.low <= 6 <= net.high
    assert 0.92 <= inside / 400 <= 0.985


def test_readings_that_a_gauge_repeats_count_once() -> None:
    rng = np.random.default_rng(8)
    idle, load = rng.normal(2, 0.3, 30), rng.normal(5, 0.5, 30)
    once, often = (
        energy.measure(observed(np.repeat(idle, times), np.repeat(load, times)))[0]
        for times in (1, 5)
    )
    assert once.low is not None and often.low is not None
    assert often.value - often.low == pytest.approx(once.value - once.low, rel=0.03)


def test_no_energy_says_why() -> None:
    why = Observations(
        Policy(), 1, passes={"energy": (TrialObservation({}, {"unsupported": "no meter"}),)}
    )
    assert energy.measure(why) == ()
    (advisory,) = energy.unknown(why)
    assert advisory.kind is AdvisoryKind.ENERGY_UNKNOWN and advisory.evidence == "no meter"
    (advisory,) = energy.unknown(observed([2, 2.5, 2.2], [2.1, 2.4, 2.2]))
    assert "no more than rest" in advisory.evidence
    assert not list(energy.unknown(observed([2, 2.1], [5, 5.1])))


def test_battery_module_is_what_the_registry_has() -> None:
    assert GAUGES["battery"].watts is battery.watts
