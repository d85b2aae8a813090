"""Killing and interrupting the orchestrator: nothing lost but the running trial."""

from __future__ import annotations

import getpass
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import harness
from harness.config.devices import find_device
from harness.devices.lock import HostLock
from harness.devices.session import Session
from harness.domain import JobStatus, TrialStatus
from harness.store import Store
from harness.transports import TRANSPORTS
from tests.support import harness_command, write_suite

Cli = Callable[..., subprocess.CompletedProcess[str]]


def start(tmp_path: Path, suite: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*harness_command(), "run", str(suite), "--format", "json"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def wait_for_trials(tmp_path: Path, count: int, deadline: float = 60) -> str:
    """Until so many trials have ended well; returns the run's id."""
    database = tmp_path / "results" / "harness.db"
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        if database.exists():
            try:
                with Store(f"sqlite:///{database}", create=False) as store:
                    for run in store.runs():
                        ended = [
                            trial
                            for job in store.jobs(run.id)
                            for trial in store.trials(job.id)
                            if trial.status is TrialStatus.OK
                        ]
                        if len(ended) >= count:
                            return run.id
            except Exception:
                time.sleep(0.05)  # the store is just being made
        time.sleep(0.05)
    raise AssertionError("the run did not get that far")


def trial_ids(tmp_path: Path, run: str) -> set[int]:
    with Store(f"sqlite:///{tmp_path}/results/harness.db", create=False) as store:
        return {
            trial.id
            for job in store.jobs(run)
            for trial in store.trials(job.id)
            if trial.status is TrialStatus.OK
        }


def check_complete(tmp_path: Path, run: str, jobs: int, trials: int) -> None:
    """Every job exactly once, sealed and ok, with exactly its trials."""
    with Store(f"sqlite:///{tmp_path}/results/harness.db", create=False) as store:
        assert [item.id for item in store.runs()] == [run]
        records = store.jobs(run)
        assert [record.job.index for record in records] == list(range(jobs))
        for record in records:
            assert record.status is JobStatus.OK and record.sealed_at, record.error
            ok = [t for t in store.trials(record.id, with_samples=True) if t.status == "ok"]
            latency = [t for t in ok if t.purpose == "latency"]
            assert sorted(t.index for t in latency) == list(range(trials))
            assert len([t for t in ok if t.purpose == "accuracy"]) == 1
            assert record.measurements["latency_median"].groups == trials
            runs = sum(len(t.phases["measure"][1]) for t in latency)
            assert record.measurements["latency_median"].n == runs


def status(cli: Cli) -> str:
    (listed,) = json.loads(cli("runs", "--format", "json").stdout)
    return str(listed["status"])


@pytest.mark.parametrize(
    "after", [pytest.param(0, marks=pytest.mark.slow), 1, pytest.param(4, marks=pytest.mark.slow)]
)
def test_kill_9_then_resume(tmp_path: Path, cli: Cli, digits: dict[str, Path], after: int) -> None:
    suite = write_suite(
        tmp_path / "suite.toml", recipes=["float32", "int8"], devices=["local", "pixel-3"],
        trials=2, policy="max_runs = 400",
    )  # fmt: skip
    process = start(tmp_path, suite)
    if after:
        wait_for_trials(tmp_path, after)
    else:
        until = time.monotonic() + 30
        while not (tmp_path / "results" / "harness.db").exists() and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.6)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    run = wait_for_trials(tmp_path, 0)
    before = trial_ids(tmp_path, run)
    assert len(before) >= after
    assert status(cli) == "interrupted"  # whatever its last word to the store was
    done = cli("run", "--resume", run, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 4
    assert before <= trial_ids(tmp_path, run)  # what had ended was not done again
    check_complete(tmp_path, run, jobs=4, trials=2)
    again = cli("run", "--resume", run, "--format", "json")
    assert again.returncode == 0 and json.loads(again.stdout) == json.loads(done.stdout)
    assert status(cli) == "finished"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_9_at_random_moments_over_and_over(
    tmp_path: Path, cli: Cli, digits: dict[str, Path]
) -> None:
    suite = write_suite(
        tmp_path / "suite.toml", recipes=["float32", "int8", "float16"],
        devices=["local", "raspberry-pi-4"], trials=3,
    )  # fmt: skip
    moments = random.Random(4)
    process = start(tmp_path, suite)
    run = wait_for_trials(tmp_path, 0)
    for _ in range(8):
        time.sleep(moments.uniform(0.1, 2.5))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        process = subprocess.Popen(
            [*harness_command(), "run", "--resume", run], cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    check_complete(tmp_path, run, jobs=6, trials=3)


@pytest.mark.slow
def test_ctrl_c_once_finishes_the_trial_and_says_how_to_go_on(
    tmp_path: Path, cli: Cli, digits: dict[str, Path]
) -> None:
    suite = write_suite(tmp_path / "suite.toml", recipes=["float32", "int8"], trials=3)
    suite.write_text(suite.read_text().replace("min_seconds = 0.01", "min_seconds = 1.5"))
    process = start(tmp_path, suite)
    run = wait_for_trials(tmp_path, 3)  # two sweeps and a latency trial
    time.sleep(0.8)  # into the next trial
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert f"harness run --resume {run}" in err and "Traceback" not in err
    rows = json.loads(out)
    assert {row["status"] for row in rows} == {"pending"}
    ended = trial_ids(tmp_path, run)
    assert len(ended) == 4  # the running trial was finished
    with Store(f"sqlite:///{tmp_path}/results/harness.db", create=False) as store:
        assert store.find_run(run).status == "interrupted"
    done = cli("run", "--resume", run, "--format", "json")
    assert done.returncode == 0, done.stderr
    assert ended <= trial_ids(tmp_path, run)
    check_complete(tmp_path, run, jobs=2, trials=3)


def test_ctrl_c_twice_stops_now(tmp_path: Path, cli: Cli, digits: dict[str, Path]) -> None:
    suite = write_suite(tmp_path / "suite.toml", trials=2)
    suite.write_text(suite.read_text().replace("min_seconds = 0.01", "min_seconds = 60.0"))
    process = start(tmp_path, suite)
    run = wait_for_trials(tmp_path, 1)
    time.sleep(1)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and time.monotonic() - begin < 5
    assert f"go on with: harness run --resume {run}\n" in err and "Traceback" not in err
    time.sleep(1)
    left = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True)
    assert not [line for line in left.stdout.splitlines() if os.environ["HARNESS_CACHE"] in line]
    assert cli("table", run).returncode == 0


@pytest.mark.slow
def test_two_orchestrators_of_one_run(tmp_path: Path, cli: Cli, digits: dict[str, Path]) -> None:
    suite = write_suite(tmp_path / "suite.toml", trials=2)
    suite.write_text(suite.read_text().replace("min_seconds = 0.01", "min_seconds = 4.0"))
    process = start(tmp_path, suite)
    run = wait_for_trials(tmp_path, 1)
    second = cli("run", "--resume", run)
    assert second.returncode == 2 and "another process" in second.stderr
    other = cli("run", str(suite), "--format", "json")
    assert other.returncode == 0, other.stderr  # it waited for its turn on this machine
    assert f"waiting: this machine measures or computes for run {run} (process " in other.stderr
    assert json.loads(other.stdout)[0]["status"] == "ok"
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.slow
def test_a_device_that_stays_busy_is_a_record(
    tmp_path: Path, cli: Cli, digits: dict[str, Path]
) -> None:
    suite = write_suite(tmp_path / "suite.toml", devices=["pixel-3"], policy="busy_timeout = 1.0")
    device = find_device("pixel-3", TRANSPORTS)
    with Session(device, "somebody else"):
        done = cli("run", str(suite), "--format", "json")
    assert done.returncode == 3, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["status"] == "failed" and row["stage"] == "connect"
    assert "in use by somebody else" in row["error"] and "waiting" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("exclusive", [True, False])
def test_a_machine_that_stays_busy_is_a_record(
    tmp_path: Path, cli: Cli, digits: dict[str, Path], exclusive: bool
) -> None:
    """Measured by another, it is not to be had for preparing; else not for measuring."""
    suite = write_suite(tmp_path / "suite.toml", policy="busy_timeout = 1.0")
    lock = HostLock("run of somebody else", exclusive=exclusive)
    lock.acquire()
    done = cli("run", str(suite), "--format", "json")
    lock.release()
    assert done.returncode == 3, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["status"] == "failed" and row["stage"] == "connect"
    said = f"for run of somebody else (process {os.getpid()} of {getpass.getuser()}) since "
    assert said in row["error"] and f"waiting: this machine measures or computes {said}" in (
        done.stderr
    )


@pytest.mark.slow
def test_resuming_a_complete_run_changes_nothing(
    tmp_path: Path, cli: Cli, digits: dict[str, Path]
) -> None:
    suite = write_suite(tmp_path / "suite.toml", devices=["pixel-3"])
    assert cli("run", str(suite)).returncode == 0
    with Store(f"sqlite:///{tmp_path}/results/harness.db") as store:
        before = store.find_run("last")
    again = cli("run", "--resume", "last")
    assert again.returncode == 0 and "nothing to resume" in again.stderr
    with Store(f"sqlite:///{tmp_path}/results/harness.db") as store:
        assert store.find_run("last") == before


@pytest.mark.slow
def test_ctrl_c_during_a_failure_that_may_pass_leaves_the_job_to_the_resume(
    tmp_path: Path, cli: Cli, digits: dict[str, Path]
) -> None:
    flaky = tmp_path / "python"
    flaky.write_text(
        f"#!{sys.executable}\nimport os, sys, time\nreal = {sys.executable!r}\n"
        f"if sys.argv[1] == '-c' or os.path.exists({str(tmp_path / 'well')!r}):\n"
        "    os.execv(real, [real, *sys.argv[1:]])\n"
        f"open({str(tmp_path / 'begun')!r}, 'w').close(); time.sleep(2); sys.exit(7)\n"
    )
    flaky.chmod(0o755)
    suite = write_suite(
        tmp_path / "suite.toml", devices=["odd"], policy="retries = 5",
        device=f'\n[device.odd]\ntransport = "local"\npython = "{flaky}"\n',
    )  # fmt: skip
    process = start(tmp_path, suite)
    until = time.monotonic() + 60
    while not (tmp_path / "begun").exists() and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)[0]["status"] == "pending"
    (tmp_path / "well").touch()
    assert cli("run", "--resume", "last").returncode == 0


def test_a_resumed_run_keeps_its_own_settings(cli: Cli, tmp_path: Path) -> None:
    done = cli("run", "--resume", "x", "--trials", "3")
    assert done.returncode == 2 and "keeps its own" in done.stderr


def test_a_run_that_was_killed_before_its_own_end_is_ended_by_a_resume(
    tmp_path: Path, digits: dict[str, Path]
) -> None:
    """Between its last record and the word that it has finished, there is a moment."""
    suite = write_suite(tmp_path / "suite.toml", devices=["pixel-3"], recipes=["float32"])
    url = f"sqlite:///{tmp_path}/k.db"
    run = harness.run(suite, store=url).id
    with Store(url) as store:
        store.finish_run(run, "running")
        before = store.jobs(run)
    harness.run(resume=run, store=url)
    with Store(url) as store:
        assert store.find_run(run).status == "finished"
        assert store.jobs(run) == before
