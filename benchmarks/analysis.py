"""The analysis of a large run, and its table."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.common import ROOT, Line
from harness import domain
from harness.config.suites import suite_to_json
from harness.domain import JobStatus, Policy, TrialStatus
from harness.metrics import METRICS, Observations, TrialObservation, advisories
from harness.store import Conclusion, JobRecord, Store

JOBS, TRIALS, SAMPLES = 1000, 5, 1000

_FILL = """
import sys
from benchmarks.analysis import fill
fill(sys.argv[1])
"""

_ANALYSE = """
import resource, sys, time
begin = time.perf_counter()
from benchmarks.analysis import analyse
analyse(sys.argv[1])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(time.perf_counter() - begin, peak)
"""


def fill(url: str) -> None:
    """A finished run of ``JOBS`` jobs with ``TRIALS`` trials of ``SAMPLES`` samples each."""
    rng = np.random.default_rng(0)
    recipes, names = 10, JOBS // 10
    devices = tuple(
        domain.Device(f"board-{n}", domain.DeviceKind.SIMULATED, "simulated") for n in range(names)
    )
    model = domain.Model("net", "net.tflite", "data")
    suite = domain.Suite(
        "large", (model,), {"data": domain.Dataset("data", "data.npz")},
        tuple(f"recipe-{n}" for n in range(recipes)), devices, (), Policy(),
    )  # fmt: skip
    jobs = [
        domain.Job(index, "net", f"recipe-{index % recipes}", f"board-{index // recipes}",
            domain.DeviceKind.SIMULATED, domain.Backend.parse("cpu"))
        for index in range(JOBS)
    ]  # fmt: skip
    with Store(url) as store:
        store.create_run("large", suite_to_json(suite), {}, jobs)
        for record in store.jobs("large"):
            for index in range(TRIALS):
                trial = store.begin_trial(record.id, index, domain.Stage.LATENCY.value)
                values = (5e6 * np.exp(rng.normal(0, 0.05, SAMPLES))).astype(np.int64)
                at = np.cumsum(values + 1000)
                store.append_samples(trial, 0, "measure", at, values)
                store.end_trial(trial, TrialStatus.OK, hello={}, facts={"load_ns": 1, "init_ns": 2})
        for record in store.jobs("large"):
            observed = observations(store, record)
            store.seal_job(Conclusion(
                record.id, JobStatus.OK, domain.Stage.DONE, size_bytes=1000, manifest={},
                runtime="runtime", runtime_version="1", facts={},
                measurements=[item for part in METRICS.values() for item in part(observed)],
                advisories=advisories(observed),
            ))  # fmt: skip
        store.finish_run("large", "finished")


def observations(store: Store, record: JobRecord) -> Observations:
    """What a job observed, read from the store as when it is sealed."""
    return Observations(
        Policy(), 1000,
        tuple(
            TrialObservation(
                {phase: values for phase, (_, values) in trial.phases.items()}, trial.facts,
                {phase: at for phase, (at, _) in trial.phases.items()},
            )
            for trial in store.trials(record.id, with_samples=True)
        ),
        clock_resolution_ns=1.0,
    )  # fmt: skip


def analyse(url: str) -> None:
    """Every measurement and advisory of the run, from its samples."""
    with Store(url, create=False) as store:
        for record in store.jobs("large"):
            observed = observations(store, record)
            found = [item for part in METRICS.values() for item in part(observed)]
            assert found
            advisories(observed)


def run(rounds: int) -> Iterator[Line]:
    """Seconds and memory for a run of 1,000 jobs x 5 trials x 1,000 samples, and for its table."""
    rounds = min(rounds, 5)
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'large.db'}"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}

        def python(*argv: str) -> str:
            return subprocess.run(
                [sys.executable, *argv], capture_output=True, check=True, text=True, cwd=ROOT,
                env=environment,
            ).stdout  # fmt: skip

        python("-c", _FILL, url)

        def table() -> None:
            command = [str(Path(sys.executable).with_name("harness")), "table", "large"]
            subprocess.run([*command, "--store", url], stdout=subprocess.DEVNULL, check=True)

        seconds, peaks, tables = [], [], []
        for _ in range(rounds):
            took, peak = python("-c", _ANALYSE, url).split()
            seconds.append(float(took))
            peaks.append(float(peak))
            begin = time.perf_counter()
            table()
            tables.append(time.perf_counter() - begin)
        yield Line("analysis of 1,000 jobs", tuple(seconds), 0, 20, " s")
        yield Line("its peak memory", tuple(peaks), 0, 1000, " MB")
        yield Line("harness table of it", tuple(tables), 0, 2, " s")
