"""Trials go on until the median is precise enough, over modelled devices that vary."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from harness.cli.shared.progress import _Bars, describe
from harness.config.devices import find_device
from harness.config.suites import load_suite
from harness.domain import AdvisoryKind, JobStatus, Suite, TrialStatus
from harness.orchestrate.environment import known_names
from harness.orchestrate.events import Event, RunStarted, TrialAdded, TrialEnded, TrialStarted
from harness.orchestrate.plan import make_plan, round_order
from harness.orchestrate.run import execute
from harness.orchestrate.stop import Stop
from harness.store import JobRecord, Store, TrialRecord
from harness.transports import TRANSPORTS
from tests.support import harness_command, write_suite

Cli = Callable[..., subprocess.CompletedProcess[str]]

#: The modelled noise between trials in percent, by device.
VARYING = {"calm": 0.0, "wavering": 1.6, "wild": 60.0}


def suite(
    tmp_path: Path, *names: str, recipes: tuple[str, ...] = ("float32",), **policy: Any
) -> Suite:
    path = write_suite(tmp_path / "suite.toml", recipes=recipes, devices=["pixel-3"])
    loaded = load_suite(path, known_names())
    modelled = find_device("pixel-3", TRANSPORTS)
    devices = tuple(
        replace(
            modelled, name=name,
            simulation={**modelled.simulation, "trial_noise_percent": VARYING[name]},
        )
        for name in names
    )  # fmt: skip
    wanted = {"trials": 3, "precision": 0.02, "max_trials": 12, "measure": ("latency",), **policy}
    return replace(loaded, devices=devices, policy=replace(loaded.policy, **wanted))


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store(f"sqlite:///{tmp_path}/s.db", create=True) as opened:
        yield opened


def timed(store: Store, record: JobRecord) -> list[TrialRecord]:
    return [
        trial for trial in store.trials(record.id, with_samples=True)
        if trial.purpose == "latency" and trial.status is TrialStatus.OK
    ]  # fmt: skip


def by_device(store: Store, run: str) -> dict[str, JobRecord]:
    return {record.job.device: record for record in store.jobs(run)}


def test_each_job_gets_as_many_as_it_needs(
    tmp_path: Path, store: Store, digits: dict[str, Path]
) -> None:
    events: list[Event] = []
    plan = make_plan(suite(tmp_path, "calm", "wavering", "wild"))
    with Progress(console=Console(file=io.StringIO(), force_terminal=True)) as bars:
        shown = _Bars(bars, bars.console.print)

        def tell(event: Event) -> None:
            shown(event)
            events.append(event)

        outcome = execute(store, plan=plan, tell=tell)
        (task,) = bars.tasks
    jobs = by_device(store, outcome.run)
    counts = {name: len(timed(store, record)) for name, record in jobs.items()}
    assert counts["calm"] == 3 and 3 < counts["wavering"] < 12 and counts["wild"] == 12, counts
    for name, record in jobs.items():
        assert record.status is JobStatus.OK, record.error
        assert [trial.index for trial in timed(store, record)] == list(range(counts[name]))
        assert record.measurements["latency_median"].groups == counts[name]
        enough = record.facts["enough"]
        assert enough["trials"] == counts[name] and enough["seconds"] > 0
        assert enough["by"] == ("max_trials" if name == "wild" else "precision")
        median = record.measurements["latency_median"]
        assert median.low is not None and median.high is not None
        # What was decided by is never less than what is told.
        told = (median.high - median.low) / 2 / median.value
        assert told <= enough["half_width"] * (1 + 1e-6)
        assert (enough["half_width"] <= 0.02) == (name != "wild")
        advised = {advisory.kind: advisory for advisory in record.advisories}
        assert (AdvisoryKind.NOT_PRECISE in advised) == (name == "wild")
    evidence = advised[AdvisoryKind.NOT_PRECISE].evidence
    assert evidence == f"±{100 * enough['half_width']:.2g} % after 12 trials (wanted ±2 %)"
    added = [event for event in events if isinstance(event, TrialAdded)]
    assert len(added) == sum(counts.values()) - 9
    # Progress came to its end, and said that its total was the least.
    assert task.total == task.completed == sum(counts.values()) + 3 and task.fields["more"]
    said = "\n".join(describe(event) or "" for event in events)
    assert "3 jobs, at least 12 agent processes" in said
    assert (
        said.count("after 3 trials, wanted ±2 %: further trials") == 2
    )  # once of each that varies


def test_rounds_stay_interleaved_as_jobs_drop_out(
    tmp_path: Path, store: Store, digits: dict[str, Path]
) -> None:
    events: list[Event] = []
    recipes = ("float32", "float16", "int8")
    declared = suite(tmp_path, "wavering", recipes=recipes, max_trials=12)
    outcome = execute(store, plan=make_plan(declared), tell=events.append)
    started = [
        (event.index, event.job.recipe)
        for event in events
        if isinstance(event, TrialStarted) and event.stage == "latency"
    ]
    assert [index for index, _ in started] == sorted(index for index, _ in started)
    jobs = [record.job for record in store.jobs(outcome.run)]
    counts = {record.job.recipe: len(timed(store, record)) for record in store.jobs(outcome.run)}
    assert len(set(counts.values())) > 1, counts
    for index in range(max(counts.values())):
        going = [job for job in jobs if counts[job.recipe] > index]
        expected = [job.recipe for job in round_order(going, index, declared.policy.seed)]
        assert [recipe for at, recipe in started if at == index] == expected
        everyone = [job.recipe for job in round_order(jobs, index, declared.policy.seed)]
        assert [recipe for recipe in everyone if recipe in expected] == expected


@pytest.mark.parametrize(
    ("policy", "trials"),
    [
        ({"max_trials": 3}, 3),
        ({"precision": 0.0}, 3),
        ({"trials": 1, "max_trials": 1}, 1),
        ({"trials": 1, "max_trials": 2}, 2),
    ],
)
def test_exactly_so_many_where_that_is_wanted(
    tmp_path: Path, store: Store, digits: dict[str, Path], policy: dict[str, Any], trials: int
) -> None:
    events: list[Event] = []
    plan = make_plan(suite(tmp_path, "wild", **policy))
    (record,) = store.jobs(execute(store, plan=plan, tell=events.append).run)
    assert len(timed(store, record)) == trials
    exact = not plan.suite.policy.adapts
    assert record.facts["enough"]["by"] == ("trials" if exact else "max_trials")
    kinds = {advisory.kind for advisory in record.advisories}
    assert (AdvisoryKind.NOT_PRECISE in kinds) == (not exact)
    (began,) = [event for event in events if isinstance(event, RunStarted)]
    assert began.more == (not exact)


def test_a_jobs_time_is_bounded_by_the_modelled_clock(
    tmp_path: Path, store: Store, digits: dict[str, Path]
) -> None:
    plan = make_plan(suite(tmp_path, "wild", min_seconds=2.0, max_runs=100_000, max_job_seconds=11))
    (record,) = store.jobs(execute(store, plan=plan).run)
    trials = timed(store, record)
    assert len(trials) == 5 and record.facts["enough"]["by"] == "max_job_seconds"
    spent = [trial.facts["trial_seconds"] for trial in trials]
    assert all(2 < seconds < 2.2 for seconds in spent) and sum(spent) < 11
    (advisory,) = [a for a in record.advisories if a.kind is AdvisoryKind.NOT_PRECISE]
    assert "after 5 trials in 10 s (wanted ±2 %)" in advisory.evidence


def test_a_run_that_was_stopped_ends_as_one_that_was_not(
    tmp_path: Path, digits: dict[str, Path]
) -> None:
    """Stopped after each trial and resumed: no trial twice, and the same end."""
    declared = suite(tmp_path, "wavering", "wild", trials=2, max_trials=6)
    (tmp_path / "whole").mkdir()
    with Store(f"sqlite:///{tmp_path}/whole/s.db", create=True) as store:
        whole = [
            (record.job, record.facts["enough"], record.measurements, record.advisories)
            for record in store.jobs(execute(store, plan=make_plan(declared)).run)
        ]
    run, plan = None, make_plan(declared)
    with Store(f"sqlite:///{tmp_path}/s.db", create=True) as store:
        for _ in range(100):
            stop = Stop()
            ended, told = 0, io.StringIO()

            with Progress(console=Console(file=told, force_terminal=True)) as bars:
                shown = _Bars(bars, bars.console.print)

                def tell(event: Event, stop: Stop = stop, shown: _Bars = shown) -> None:
                    nonlocal ended
                    shown(event)
                    if isinstance(event, TrialEnded):
                        ended += 1
                        if ended == 4:
                            stop.request()

                outcome = execute(
                    store, plan=None if run else plan, resume=run, tell=tell, stop=stop
                )
                (task,) = bars.tasks
            run = outcome.run
            assert task.total is not None and task.completed <= task.total
            if not outcome.interrupted:
                assert task.completed == task.total
                break

        resumed = [
            (record.job, record.facts["enough"], record.measurements, record.advisories)
            for record in store.jobs(run)
        ]
        assert resumed == whole
        for record in store.jobs(run):
            trials = [t for t in store.trials(record.id) if t.purpose == "latency"]
            assert [trial.index for trial in trials] == list(range(len(trials)))


def wait_for(tmp_path: Path, count: int) -> str:
    """Until so many latency trials of a job have ended; the run's id."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            with Store(f"sqlite:///{tmp_path}/results/harness.db", create=False) as store:
                for run in store.runs():
                    if any(len(timed(store, record)) >= count for record in store.jobs(run.id)):
                        return run.id
        except Exception:
            time.sleep(0.05)  # the store is just being made
        time.sleep(0.02)
    raise AssertionError("the run did not get that far")


@pytest.mark.slow
def test_kill_9_during_an_added_trial(tmp_path: Path, cli: Cli, digits: dict[str, Path]) -> None:
    """On this machine: whatever its noise, nobody gets to a precision of a millionth.

    Of two trials the medians may be equal to the nanosecond by chance, of three they are not.
    """
    path = write_suite(
        tmp_path / "suite.toml", recipes=["float32", "int8"], trials=3,
        policy="max_trials = 6\nprecision = 0.000001\n",
    )  # fmt: skip
    path.write_text(path.read_text().replace("min_seconds = 0.01", "min_seconds = 0.3"))
    process = subprocess.Popen(
        [*harness_command(), "run", str(path)], cwd=tmp_path, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    run = wait_for(tmp_path, 4)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with Store(f"sqlite:///{tmp_path}/results/harness.db", create=False) as store:
        before = {trial.id for record in store.jobs(run) for trial in timed(store, record)}
    done = cli("run", "--resume", run)
    assert done.returncode == 0, done.stderr
    with Store(f"sqlite:///{tmp_path}/results/harness.db", create=False) as store:
        for record in store.jobs(run):
            trials = timed(store, record)
            assert [trial.index for trial in trials] == list(range(6))
            assert record.measurements["latency_median"].groups == 6
            assert record.facts["enough"]["by"] == "max_trials"
            assert all(trial.facts["trial_seconds"] > 0.3 for trial in trials)
        after = {trial.id for record in store.jobs(run) for trial in timed(store, record)}
    assert before < after
    assert "not_precise" in cli("table", run, "--format", "json").stdout


@pytest.mark.slow
def test_trials_on_the_command_line_are_exact(tmp_path: Path, cli: Cli) -> None:
    path = write_suite(
        tmp_path / "suite.toml", trials=3, policy="max_trials = 6\nprecision = 0.001\n"
    )
    done = cli("run", str(path), "--dry-run")
    assert "3 to 6 trials (until the median is known to ±0.1 %, at most 600 s)" in done.stdout
    assert "up to" in done.stdout
    done = cli("run", str(path), "--dry-run", "--trials", "2")
    assert "Policy: 2 trials in fresh processes" in done.stdout, done.stderr
