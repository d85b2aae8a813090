"""Many simulated devices in trouble in one run, and what must hold of every store after it."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from harness.domain import JobStatus, TrialStatus
from harness.domain.fault import PLACES, FaultKind
from harness.store import JobRecord, Store, TrialRecord
from tests.support import write_suite

RECIPES = ("float32", "int8")

#: Slow enough for few inferences; its two variants differ by much more than its noise.
_SIMULATION = """
[device.{name}]
title = "a device in trouble"
transport = "simulated"
accelerators = {accelerators}
default_backend = "{backend}"
faults = {faults}
[device.{name}.simulation]
float_gmacs = 0.005
int8_gmacs = 0.02
int16_gmacs = 0.01
thread_scaling = 0.7
cores = 4
bandwidth_gbs = 4.0
op_overhead_us = 20.0
invoke_overhead_us = 20.0
edgetpu_mhz = 250.0
edgetpu_link_mbs = 430.0
edgetpu_cache_mb = 7.5
edgetpu_invoke_us = 150.0
init_ms = 1.0
init_ms_per_mb = 1.0
memory_mb = 40.0
noise_percent = 1.0
trial_noise_percent = 1.0
idle_w = 1.0
load_w = 3.0
"""

#: What a record says of a job that a fault has ended.
CAUSES: Mapping[FaultKind, str] = {
    FaultKind.REFUSED: "Connection refused",
    FaultKind.HOST_KEY: "host key has CHANGED",
    FaultKind.BUSY: "in use by somebody@elsewhere",
    FaultKind.STOLEN: "lost the device to somebody@elsewhere",
    FaultKind.DISCONNECT: "the link was cut",
    FaultKind.REBOOT: "the link was cut",
    FaultKind.CORRUPTED: "what arrived is not what was sent",
    FaultKind.FULL: "no space left",
    FaultKind.MISSING: "cannot start python3",
    FaultKind.CRASH: "signal 11",
    FaultKind.KILLED: "lack of memory",
    FaultKind.HANG: "said nothing for",
    FaultKind.MEMORY: "out of memory",
    FaultKind.GARBAGE: "not of the protocol",
    FaultKind.OVERSIZED: "without an end",
}

#: Kinds that another try gets over, those that it does not, and those that end nothing.
TRANSIENT = (FaultKind.REFUSED, FaultKind.STOLEN, FaultKind.DISCONNECT, FaultKind.REBOOT,
             FaultKind.CORRUPTED, FaultKind.CRASH, FaultKind.KILLED, FaultKind.HANG,
             FaultKind.BUSY, FaultKind.FULL)  # fmt: skip
STABLE = (FaultKind.HOST_KEY, FaultKind.MISSING, FaultKind.MEMORY, FaultKind.GARBAGE,
          FaultKind.OVERSIZED)  # fmt: skip
HARMLESS = (FaultKind.SLOW, FaultKind.BATTERY, FaultKind.CLOCK, FaultKind.THROTTLING,
            FaultKind.OUTPUTS, FaultKind.FALLBACK)  # fmt: skip

#: Kinds after which samples are no longer what the model of the device says.
RETIMED = {FaultKind.CLOCK, FaultKind.THROTTLING, FaultKind.FALLBACK}


def cases(places: Sequence[str]) -> list[tuple[FaultKind, str]]:
    """Every fault at every one of these places where it makes sense."""
    return [(kind, place) for kind in FaultKind for place in PLACES[kind] if place in places]


def write_chaos(path: Path, faults: Mapping[str, Sequence[str]], policy: str = "") -> Path:
    """A suite of two variants and two trials over devices with these faults."""
    text = ""
    for name, of_device in faults.items():
        tpu = any("fallback" in fault for fault in of_device)
        text += _SIMULATION.format(
            name=name, faults=list(of_device), backend="edgetpu" if tpu else "cpu x1",
            accelerators=["edgetpu"] if tpu else ["cpu"],
        )  # fmt: skip
    settings = "silence_timeout = 60.0\nbusy_timeout = 0.2\nretries = 2\nmin_battery_percent = 20\n"
    suite = write_suite(
        path, devices=list(faults), recipes=RECIPES, device=text, trials=2, limit=40,
        policy=settings + policy,
    )  # fmt: skip
    suite.write_text(suite.read_text().replace("retry_delay = 0.05", "retry_delay = 0.01"))
    return suite


def check_store(path: Path, run: str, jobs: int) -> list[JobRecord]:
    """Whatever went wrong: one sealed record for each job, and nothing left open or mixed up."""
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    database.close()
    with Store(f"sqlite:///{path}", create=False) as store:
        records = store.jobs(run)
        assert [record.job.index for record in records] == list(range(jobs))
        for record in records:
            assert record.sealed_at and record.status is not JobStatus.PENDING
            assert bool(record.error) == (record.status is not JobStatus.OK)
            check_trials(record, store.trials(record.id, with_samples=True))
        assert store.find_run(run).status == "finished"
    return records


def check_trials(record: JobRecord, trials: Sequence[TrialRecord]) -> None:
    """No trial goes on or was done twice, and a good job has all of them."""
    assert not any(trial.status is TrialStatus.RUNNING for trial in trials)
    ended = [(item.purpose, item.index) for item in trials if item.status is TrialStatus.OK]
    assert len(ended) == len(set(ended)), record.job.label
    if record.status is JobStatus.OK:
        assert {("latency", 0), ("latency", 1), ("accuracy", 0)} <= set(ended)
        runs = sum(
            len(item.phases["measure"][1])
            for item in trials
            if item.status is TrialStatus.OK and item.purpose == "latency"
        )
        assert record.measurements["latency_median"].n == runs


def medians(store: Store, records: Sequence[JobRecord]) -> dict[str, list[float]]:
    """Of each recipe the medians of all its latency trials, failed ones too, ns."""
    found: dict[str, list[float]] = {recipe: [] for recipe in RECIPES}
    for record in records:
        for trial in store.trials(record.id, with_samples=True):
            if trial.purpose == "latency" and "measure" in trial.phases:
                found[record.job.recipe].append(float(np.median(trial.phases["measure"][1])))
    return found


def samples_of(store: Store, records: Sequence[JobRecord]) -> list[object]:
    """Every sample and measurement of these jobs, to be compared with those of another run."""
    return [
        (
            record.job.label,
            record.status,
            {name: (m.value, m.low, m.high, m.n) for name, m in record.measurements.items()},
            [
                (trial.purpose, trial.index, phase, at.tolist(), values.tolist())
                for trial in store.trials(record.id, with_samples=True)
                for phase, (at, values) in sorted(trial.phases.items())
            ],
        )
        for record in records
    ]
