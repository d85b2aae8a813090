"""Heat, governor, battery and memory of simulated devices, through runs of suites."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from harness.config.suites import load_suite
from harness.domain import AdvisoryKind
from harness.errors import ConfigError
from harness.orchestrate.environment import known_names
from harness.orchestrate.plan import make_plan
from harness.orchestrate.run import execute
from harness.store import JobRecord, Store, TrialRecord
from tests.support import write_suite

BASE = """
[device.board]
transport = "simulated"
default_backend = "cpu x4"

[device.board.simulation]
float_gmacs = 2.2
int8_gmacs = 7.0
int16_gmacs = 0.06
thread_scaling = 0.8
cores = 4
bandwidth_gbs = 5.56
op_overhead_us = 6.0
invoke_overhead_us = 15.0
init_ms = 4.0
init_ms_per_mb = 6.0
memory_mb = 38.0
noise_percent = 1.5
trial_noise_percent = 1.0
"""
HEAT = """
idle_w = 2.0
load_w = 6.0
ambient_c = 25.0
thermal_resistance_kw = 10.0
throttle_c = 70.0
clock_mhz = 1500.0
throttled_mhz = 1000.0
min_mhz = 500.0
governor = "ondemand"
governors = ["ondemand", "performance", "powersave"]
"""
#: A second to warm up by two thirds of 40 K: without any metal.
POOR = HEAT + "heat_capacity_jk = 0.1\n"
WELL = HEAT + "heat_capacity_jk = 50.0\n"
LATENCY = 'measure = ["latency"]\n'

Found = tuple[JobRecord, list[TrialRecord]]


def run(
    tmp_path: Path,
    policy: str,
    more: str = "",
    devices: tuple[str, ...] = ("board",),
    trials: int = 3,
) -> Found:
    (found,) = runs(tmp_path, policy, more, devices, trials)
    return found


def runs(
    tmp_path: Path, policy: str, more: str, devices: tuple[str, ...], trials: int
) -> list[Found]:
    suite = tmp_path / "suite.toml"
    write_suite(suite, devices=devices, trials=trials, device=BASE + more,
                policy=f"max_trials = {trials}\n{LATENCY}")  # fmt: skip
    # What a test says of the Policy stands in place of the light one's.
    names = {line.split(" ")[0] for line in policy.splitlines()}
    head, _, light = suite.read_text().partition("[policy]")
    kept = [line for line in light.splitlines() if line.split(" ")[0] not in names]
    suite.write_text("\n".join([head, "[policy]", *kept, policy]))
    with Store(f"sqlite:///{tmp_path}/run.db") as store:
        outcome = execute(store, plan=make_plan(load_suite(suite, known_names())))
        return [
            (job, [t for t in store.trials(job.id) if t.purpose == "latency"])
            for job in store.jobs(outcome.run)
        ]


def kinds(job: JobRecord) -> dict[AdvisoryKind, str]:
    return {item.kind: item.evidence for item in job.advisories}


def looks(trials: list[TrialRecord], when: str) -> list[dict[str, Any]]:
    return [trial.facts["readiness"][when] for trial in trials]


def ends(trials: list[TrialRecord], what: str) -> list[tuple[float, float]]:
    return [
        tuple(trial.facts["conditions"][when][what] for when in ("before", "after"))  # type: ignore[misc]  # two
        for trial in trials
    ]


def test_a_device_without_cooling_throttles(tmp_path: Path, digits: dict[str, Path]) -> None:
    job, trials = run(tmp_path, "min_seconds = 2.0", POOR)
    told = kinds(job)
    assert "the clock fell from 1.5 GHz to 1.0 GHz" in told[AdvisoryKind.THROTTLED]
    assert AdvisoryKind.FREQUENCY_CHANGED not in told  # throttling says it already
    assert {end[1] for end in ends(trials, "frequency_mhz")} == {1000.0}
    for cool, hot in ends(trials, "temperature_c"):
        # At the lower clock, 2 + 4 / 1.5 W: 71.7 °C in the end.
        assert cool < 60 and 67 < hot < 72.5


def test_one_that_is_cooled_does_not(tmp_path: Path, digits: dict[str, Path]) -> None:
    job, trials = run(tmp_path, "min_seconds = 2.0", WELL)
    assert not {AdvisoryKind.THROTTLED, AdvisoryKind.FREQUENCY_CHANGED} & kinds(job).keys()
    warmer = [before for before, _ in ends(trials, "temperature_c")]
    # 4 W for two seconds into 50 J/K, less what a second of rest takes out: 0.15 K a trial.
    assert warmer[2] - warmer[0] + 0.9 > 0.1 * 2 and all(44 < each < 47 for each in warmer)


def test_trials_are_warmer_than_those_before_and_pauses_cool(
    tmp_path: Path, digits: dict[str, Path]
) -> None:
    more = HEAT.replace("throttle_c = 70.0", "throttle_c = 120.0") + "heat_capacity_jk = 1.0\n"
    first = {}
    for pause in (0.0, 100.0):
        folder = tmp_path / str(pause)
        folder.mkdir()
        _, trials = run(folder, f"min_seconds = 2.0\ncooldown_seconds = {pause}", more, trials=4)
        first[pause] = [before for before, _ in ends(trials, "temperature_c")]
    # The sensor has a noise of 0.15 K.
    assert first[0.0][0] == pytest.approx(45, abs=1) and first[0.0] == sorted(first[0.0])
    assert first[0.0][3] > 52
    assert first[100.0] == pytest.approx([45.0] * 4, abs=1)


@pytest.mark.parametrize("device", ["raspberry-pi-3b-plus", "raspberry-pi-4", "pixel-3", "pixel-6"])
def test_ordinary_suites_have_no_false_alarm(
    tmp_path: Path, digits: dict[str, Path], device: str
) -> None:
    policy = "warmup_seconds = 0.5\nmin_runs = 50\nmin_seconds = 1.0"
    job, _ = run(tmp_path, policy, devices=(device,), trials=5)
    assert not {
        AdvisoryKind.THROTTLED, AdvisoryKind.FREQUENCY_CHANGED, AdvisoryKind.NOT_READY,
        AdvisoryKind.LOW_BATTERY, AdvisoryKind.HOT,
    } & kinds(job).keys()  # fmt: skip


def test_the_governor_is_set_for_the_session(tmp_path: Path, digits: dict[str, Path]) -> None:
    medians = {}
    for governor in ("performance", "powersave"):
        folder = tmp_path / governor
        folder.mkdir()
        job, trials = run(folder, f'governor = "{governor}"', WELL, trials=5)
        assert {state["governor"] for state in looks(trials, "before")} == {governor}
        assert trials[0].hello["platform"]["governor"] == governor
        assert AdvisoryKind.NOT_READY not in kinds(job)
        medians[governor] = job.measurements["latency_median"].value
        clock = {"performance": 1500.0, "powersave": 500.0}[governor]
        assert set(sum(ends(trials, "frequency_mhz"), ())) == {clock}  # type: ignore[arg-type]  # tuples
    assert medians["powersave"] / medians["performance"] == pytest.approx(3, rel=0.05)


def test_a_governor_that_is_not_there(tmp_path: Path, digits: dict[str, Path]) -> None:
    job, trials = run(tmp_path, 'governor = "turbo"', WELL)
    assert "there is only ondemand performance powersave" in kinds(job)[AdvisoryKind.NOT_READY]
    assert {state["governor"] for state in looks(trials, "before")} == {"ondemand"}


def test_a_battery_is_drained_by_what_a_job_takes(tmp_path: Path, digits: dict[str, Path]) -> None:
    battery = "battery_percent = 50.0\nbattery_wh = 0.01\n"
    policy = "min_seconds = 2.0\nmin_battery_percent = 40"
    job, trials = run(tmp_path, policy, WELL + battery, trials=4)
    levels = [state["battery_percent"] for state in looks(trials, "before")]
    # 36 J in all; each trial takes 2 s of 6 W, 1 s of 2 W: 39 %.
    assert levels == [50, 11, 0, 0]
    assert {state["battery_status"] for state in looks(trials, "before")} == {"Discharging"}
    assert (
        "battery at 0 % and not charging; 40 % were asked for"
        in kinds(job)[AdvisoryKind.LOW_BATTERY]
    )


def test_a_battery_on_a_cable_is_waited_for_in_modelled_time(
    tmp_path: Path, digits: dict[str, Path]
) -> None:
    battery = "battery_percent = 30.0\nbattery_wh = 0.1\ncharging_w = 5.0\n"
    begin = time.monotonic()
    job, trials = run(tmp_path, "min_battery_percent = 40", WELL + battery)
    assert all(40 <= state["battery_percent"] < 50 for state in looks(trials, "before"))
    # 10 % of 360 J at 5 W less 2.
    assert trials[0].facts["readiness"]["waited_seconds"] == pytest.approx(12, abs=2)
    assert AdvisoryKind.LOW_BATTERY not in kinds(job)
    assert time.monotonic() - begin < 10


def test_a_hot_device_is_waited_for_in_modelled_time(
    tmp_path: Path, digits: dict[str, Path]
) -> None:
    more = HEAT.replace("throttle_c = 70.0", "throttle_c = 120.0") + "heat_capacity_jk = 2.0\n"
    policy = "min_seconds = 20.0\nmax_temperature_c = 50"
    job, trials = run(tmp_path, policy, more, trials=2)
    waited = [trial.facts["readiness"]["waited_seconds"] for trial in trials]
    assert waited[0] == 0 and waited[1] > 10
    assert (
        looks(trials, "before")[1]["temperature_c"]
        <= 50
        < looks(trials, "after")[1]["temperature_c"]
    )
    assert AdvisoryKind.HOT not in kinds(job)


def test_one_that_never_becomes_cool_is_given_up(tmp_path: Path, digits: dict[str, Path]) -> None:
    job, trials = run(tmp_path, "max_temperature_c = 40\nready_timeout = 600", WELL, trials=1)
    assert trials[0].facts["readiness"]["waited_seconds"] == 600
    assert AdvisoryKind.HOT in kinds(job)


def test_a_model_beyond_its_memory_is_a_failure_of_the_device(
    tmp_path: Path, digits: dict[str, Path]
) -> None:
    job, trials = run(tmp_path, "", "ram_mb = 38.0\n")
    assert (job.status, job.stage) == ("failed", "load") and not [
        t for t in trials if t.status == "ok"
    ]
    assert job.error is not None and "out of memory" in job.error and "of 38 MB" in job.error


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (WELL.replace('"ondemand"\n', '"turbo"\n'), "turbo is none of its governors"),
        (WELL.replace("min_mhz = 500.0", "min_mhz = 1200.0"), "min_mhz is above throttled_mhz"),
        ("battery_percent = 50.0\n", "needs battery_wh too"),
        ("gpu_w = 1.0\n", "needs idle_w too"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, more: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        run(tmp_path, "", more)
