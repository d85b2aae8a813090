"""Sustained load and energy from suite to report: a device of known heat, and this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import harness
from harness.domain import Advisory, AdvisoryKind
from harness.reports import html
from harness.reports.view import view_run
from harness.store import JobRecord, Store

SUITE = """
name = "power"
recipes = ["float32"]
devices = [{device}]
[model.digits]
file = "builtin:digits_cnn"
dataset = "digits"
preprocessing = {{ scale = 0.0625 }}
[dataset.digits]
source = "digits"
{tables}
[policy]
trials = 1
warmup_seconds = 0
min_seconds = 0.01
measure = [{measure}]
{policy}
"""

#: Throttles after 20 * 5 * ln(4 / 1.5) = 98 s of load; a third of the time constant is 33 s.
HOT = """
[device.hot]
transport = "simulated"
default_backend = "cpu x2"
[device.hot.simulation]
float_gmacs = 1.0
int8_gmacs = 1.0
int16_gmacs = 1.0
thread_scaling = 0.0
cores = 2
bandwidth_gbs = 5.0
op_overhead_us = 100.0
invoke_overhead_us = 5000.0
init_ms = 1.0
init_ms_per_mb = 1.0
memory_mb = 30.0
noise_percent = 1.0
trial_noise_percent = 0.0
idle_w = 2.0
load_w = 6.0
"""
HEAT = """
ambient_c = 20.0
thermal_resistance_kw = 10.0
heat_capacity_jk = 10.0
throttle_c = 65.0
clock_mhz = 2000.0
throttled_mhz = 1000.0
"""

#: A meter that reads 5 W while another child of this test uses a processor, else 2 W.
METER = """
import os, sys, time
parent, own, before = os.getppid(), os.getpid(), {}
while True:
    busy = False
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = open(f"/proc/{name}/stat").read().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and int(name) != own:
            ticks = int(fields[11]) + int(fields[12])
            busy |= ticks - before.get(name, ticks) >= 1
            before[name] = ticks
    print(f"{time.monotonic():.3f} {5.0 if busy else 2.0}", flush=True)
    time.sleep(0.1)
"""


def run(tmp_path: Path, device: str, tables: str, measure: str, policy: str) -> JobRecord:
    suite = tmp_path / "suite.toml"
    quoted = ", ".join(f'"{name}"' for name in measure.split())
    suite.write_text(
        SUITE.format(device=f'"{device}"', tables=tables, measure=quoted, policy=policy)
    )
    harness.run(suite, store=f"sqlite:///{tmp_path}/p.db")
    with Store(f"sqlite:///{tmp_path}/p.db", create=False) as store:
        (record,) = store.jobs(store.runs()[0].id)
    assert record.status.value == "ok", record.error
    return record


def kinds(advisories: tuple[Advisory, ...]) -> set[AdvisoryKind]:
    return {item.kind for item in advisories}


def value(record: JobRecord, name: str) -> float:
    return record.measurements[name].value


def test_a_simulated_device_throttles(tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    record = run(tmp_path, "hot", HOT + HEAT, "latency sustained", "sustained_minutes = 4")
    # 0.4 s of work per kelvin at first: 40 °C at rest, 80 °C under load in the end, 65 °C after
    # 98 s. At half the clock it takes 4 W, which is 60 °C: the clock comes and goes.
    assert value(record, "temperature_start") == pytest.approx(40, abs=1)
    assert value(record, "temperature_max") == pytest.approx(65, abs=1)
    assert value(record, "frequency_start") == 2000 and value(record, "frequency_min") == 1000
    assert 1.3 < value(record, "sustained_ratio") <= 2.05
    assert value(record, "sustained_first") == pytest.approx(
        value(record, "latency_median"), rel=0.01
    )
    (throttled,) = (a for a in record.advisories if a.kind is AdvisoryKind.THROTTLED)
    assert "the clock went from 2000 to" in throttled.evidence
    with Store(f"sqlite:///{tmp_path}/p.db", create=False) as store:
        view = view_run(store, "last")
        page = html.render(view)
        trials = store.trials(record.id, with_samples=True)
    assert "<h2>Sustained load</h2>" in page and 'data-chart="loads-0"' in page
    (load,) = (trial for trial in trials if trial.purpose == "sustained")
    (timed,) = (trial for trial in trials if trial.purpose == "latency")
    at, khz = load.phases["frequency"]
    first_lowered = at[khz < 2_000_000][0] / 1e9
    assert first_lowered == pytest.approx(98.1, abs=3)
    # Trials of other kinds are as of a device that is kept cool, and say so.
    assert timed.facts["conditions"]["after"]["frequency_mhz"] == 2000
    assert timed.facts["conditions"]["after"]["temperature_c"] == pytest.approx(40, abs=1)


def test_the_same_seed_gives_the_same_load_and_no_heat_the_same_trials(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    asked: Any = ("hot", HOT + HEAT, "latency sustained", "sustained_minutes = 0.5")
    one, other = run(tmp_path / "a", *asked), run(tmp_path / "b", *asked)
    assert one.measurements == other.measurements
    (tmp_path / "c").mkdir()
    cool = run(tmp_path / "c", "hot", HOT, "latency sustained", "sustained_minutes = 0.5")
    assert cool.measurements["latency_median"] == one.measurements["latency_median"]
    assert "temperature_start" not in cool.measurements
    assert AdvisoryKind.THROTTLED not in kinds(cool.advisories) | kinds(one.advisories)


def test_energy_of_a_simulated_device_is_what_its_profile_says(tmp_path: Path) -> None:
    policy = "idle_seconds = 5\nenergy_seconds = 20"
    record = run(tmp_path, "hot", HOT, "latency energy", policy)
    assert value(record, "power_idle") == 2 and value(record, "power_load") == 6
    each_s = value(record, "latency_median") / 1e3
    assert value(record, "energy") == pytest.approx(4 * each_s * 1e3, rel=0.01)
    assert value(record, "energy_gross") == pytest.approx(6 * each_s * 1e3, rel=0.01)
    assert record.facts["power_meter"]["name"] == "modelled"


def test_a_meter_of_ones_own_beside_this_machine(tmp_path: Path) -> None:
    (tmp_path / "meter.py").write_text(METER)
    here = (
        '[device.here]\ntransport = "local"\npower_meter_accuracy_percent = 2.0\n'
        f'power_meter = ["{sys.executable}", "{tmp_path}/meter.py"]\n'
    )
    policy = "idle_seconds = 1.5\nenergy_seconds = 2"
    record = run(tmp_path, "here", here, "latency energy", policy)
    assert value(record, "power_idle") == pytest.approx(2, abs=0.7)
    assert value(record, "power_load") == pytest.approx(5, abs=0.7)
    net = record.measurements["energy"]
    assert net.low is not None and net.high is not None and net.low < net.value < net.high
    with Store(f"sqlite:///{tmp_path}/p.db", create=False) as store:
        trials = store.trials(record.id, with_samples=True)
    (load,) = (trial for trial in trials if trial.purpose == "energy")
    seconds, runs = (load.phases[phase][1].sum() for phase in ("interval", "runs"))
    each = net.value / (value(record, "power_load") - value(record, "power_idle"))
    assert each == pytest.approx(seconds / 1e6 / runs) and net.n == runs
    assert AdvisoryKind.ENERGY_UNKNOWN not in kinds(record.advisories)
    assert record.facts["power_meter"]["accuracy_percent"] == 2


@pytest.mark.parametrize(
    ("meter", "said"),
    [
        ("print('volts and amperes', flush=True); import time; time.sleep(60)", "printed 'volts"),
        ("print('0 1')", "ended early"),
        ("import time; print('0 1', flush=True); time.sleep(60)", "reading(s)"),
    ],
)
def test_a_meter_that_fails_costs_the_energy_and_nothing_else(
    tmp_path: Path, meter: str, said: str
) -> None:
    (tmp_path / "meter.py").write_text(meter)
    here = (
        '[device.here]\ntransport = "local"\npower_meter_accuracy_percent = 2.0\n'
        f'power_meter = ["{sys.executable}", "{tmp_path}/meter.py"]\n'
    )
    record = run(tmp_path, "here", here, "latency energy", "idle_seconds = 1\nenergy_seconds = 1")
    assert "energy" not in record.measurements and "latency_median" in record.measurements
    (unknown,) = (a for a in record.advisories if a.kind is AdvisoryKind.ENERGY_UNKNOWN)
    assert said in unknown.evidence


def test_this_machine_under_load(tmp_path: Path) -> None:
    record = run(tmp_path, "local", "", "latency sustained", "sustained_minutes = 0.03")
    assert value(record, "sustained_seconds") == pytest.approx(1.8, abs=0.3)
    assert value(record, "sustained_throughput") > 100
    assert 0 < value(record, "memory_before_load") <= value(record, "memory_after_load")
    assert 0 < value(record, "memory_model") < value(record, "memory_peak")
