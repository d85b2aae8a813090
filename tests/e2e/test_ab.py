"""``harness ab`` over modelled devices and this machine."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.progress import Progress

import harness
from harness.cli.shared.ab_progress import Live
from harness.domain import JobStatus, Policy, TrialStatus
from harness.errors import HarnessError
from harness.orchestrate.events import DeviceConnected, Event, RoundEnded, TrialStarted
from harness.orchestrate.stop import Stop
from harness.store import Store
from tests.support import harness_command, needed
from tests.support.models import adding_model

Cli = Callable[..., subprocess.CompletedProcess[str]]

#: The least that is still a measurement.
LIGHT = Policy(
    min_runs=5, min_seconds=0.005, warmup_seconds=0, warmup_max_seconds=0.05, retries=0,
    retry_delay=0.01, output_checks=2,
)  # fmt: skip


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Two models of which ``large`` has far more to do, and two of the same name."""
    found = {}
    for name, side in (("small", 8), ("large", 256)):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(adding_model((1, side, side, 4)))
        found[name] = str(path)
    return found


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store(f"sqlite:///{tmp_path}/s.db", create=True) as opened:
        yield opened


@pytest.fixture
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes a profile of this machine."""
    folder = tmp_path / "profiles"
    folder.mkdir()
    monkeypatch.setenv("HARNESS_DEVICES", str(folder))

    def write(name: str, **keys: str) -> None:
        keys = {"transport": "local", **keys}
        lines = [f'{key} = "{value}"' for key, value in keys.items()]
        (folder / f"{name}.toml").write_text("\n".join(lines))

    return write


def test_it_answers_on_a_modelled_device_the_same_every_time(
    cli: Cli, files: dict[str, str], store: Store
) -> None:
    done = cli("ab", files["large"], files["small"], "-d", "pixel-3", "--format", "json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    again = harness.ab(files["large"], files["small"], device="pixel-3", store=store)
    told = json.loads(again.text("json"))
    assert {**told, "run": ""} == {**answer, "run": ""}
    assert answer["answer"] == "faster" and answer["ratio_high"] < 0.98
    assert answer["ended"] == "answer" and answer["sides"]["a"]["kind"] == "simulated"
    assert answer["rounds"] == answer["sides"]["b"]["trials"] == done.stderr.count("] round ")
    assert done.stderr.count("connected") == 1
    # It is a run as any other.
    view = harness.load("last", store=store)
    assert "in turns (until it was clear" in view.text()
    rows = view.rows()
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert rows[0]["trials"] == answer["rounds"]
    assert rows[0]["latency_median_ms"] == pytest.approx(answer["sides"]["a"]["median_ms"])


@pytest.mark.slow
def test_a_file_against_itself_is_said_to_be_that(files: dict[str, str], store: Store) -> None:
    found = harness.ab(files["large"], device="raspberry-pi-4", policy=LIGHT, store=store)
    assert found.answer == "no difference that matters" and found.contest.same
    assert "A and B are the same file" in found.text()
    assert {row["model"] for row in found.rows()} == {"large-a", "large-b"}
    threads = harness.ab(
        files["large"], device="raspberry-pi-4", backend="cpu x1", backend_b="cpu x4",
        policy=LIGHT, store=store, max_rounds=2,
    )  # fmt: skip
    assert not threads.contest.same and {row["model"] for row in threads.rows()} == {"large"}
    assert threads.contest.ended == "max_rounds" and threads.answer == "cannot tell yet"
    # Ten minutes of the modelled clock are not ten of ours.
    short = harness.ab(
        files["large"], device="raspberry-pi-4", policy=Policy(seed=1), store=store,
        max_minutes=0.05,
    )  # fmt: skip
    assert short.contest.ended == "max_minutes" and short.contest.seconds < 4
    assert "the time is over" in short.sentence


@pytest.mark.slow
def test_two_recipes_are_compared_over_samples(
    digits: dict[str, Path], store: Store, tmp_path: Path
) -> None:
    found = harness.ab(
        "builtin:digits_cnn", recipe_a="float32", recipe_b="int8", data="digits",
        device="raspberry-pi-4", policy=LIGHT, store=store,
    )  # fmt: skip
    assert found.answer == "faster" and {row["recipe"] for row in found.rows()} == {
        "float32", "int8",
    }  # fmt: skip
    compared = harness.compare("last:float32", "last:int8", store=store)
    latency = [row for row in compared.rows() if row["metric"] == "latency_median"]
    assert [row["outcome"] for row in latency] == ["better"]
    mixed = harness.ab(
        "builtin:digits_cnn", str(digits["int8"]), data="digits", device="raspberry-pi-4",
        policy=LIGHT, store=store, max_rounds=1,
    )  # fmt: skip
    assert [row["recipe"] for row in mixed.rows()] == ["float32", "as_is"]


@pytest.mark.slow
def test_two_runtimes_of_this_machine_take_turns(
    files: dict[str, str], store: Store, profiles: Callable[..., None], tmp_path: Path
) -> None:
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nsleep 0.01\nexec "{sys.executable}" "$@"\n')
    wrapper.chmod(0o755)
    profiles("here")
    profiles("here-too", python=str(wrapper))
    events: list[Event] = []
    found = harness.ab(
        files["small"], device="here", device_b="here-too", policy=LIGHT, store=store,
        max_rounds=3, tell=events.append,
    )  # fmt: skip
    rows = found.rows()
    assert [row["device"] for row in rows] == ["here", "here-too"] and not found.contest.same
    assert [row["status"] for row in rows] == ["ok", "ok"] and found.contest.failure == ""
    assert found.contest.kind.value == "real" and rows[0]["runtime"] == rows[1]["runtime"]
    connected = [event.device for event in events if isinstance(event, DeviceConnected)]
    assert sorted(connected) == ["here", "here-too"]
    order = [event.job.index for event in events
             if isinstance(event, TrialStarted) and event.stage == "latency"]  # fmt: skip
    assert all(sorted(order[i : i + 2]) == [0, 1] for i in range(0, len(order), 2))


@pytest.mark.slow
def test_a_large_model_is_slower_here_and_now(
    cli: Cli, files: dict[str, str], profiles: Callable[..., None]
) -> None:
    if subprocess.run(["cc", "--version"], capture_output=True, check=False).returncode:
        needed("no C compiler")
    given = ("--trial-seconds", "0.05", "--max-rounds", "12", "--format", "csv")
    done = cli("ab", files["small"], files["large"], *given)
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {row["answer"] for row in rows} == {"slower"} and rows[0]["kind"] == "real"
    profiles("native", agent="native")
    done = cli("ab", files["large"], "--device-b", "native", *given)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert done.returncode == 0 and [row["agent"] for row in rows] == ["python", "native"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model_b": "nope.tflite"}, "there is no file nope.tflite"),
        ({"model_b": "text.tflite"}, "not a TensorFlow Lite file"),
        ({"model_b": "cut.tflite"}, "damaged or truncated"),
        ({"device": "nobody"}, "unknown device 'nobody'"),
        ({"max_rounds": 0}, "1 to 1000 rounds, not 0"),
        ({"max_minutes": 0}, "not 0 minutes"),
        ({"device_b": "raspberry-pi-4"}, "are two boards"),
        ({"device_b": "local"}, "pixel-3 is simulated and local is real"),
        ({"device": "emulated"}, "emulated is emulated: its times say nothing"),
        ({"backend": "cpu x9"}, "has 8 cores, not 9"),
        ({"backend_b": "edgetpu"}, "does not offer edgetpu"),
        ({"backend": "hal 9000"}, "not a backend"),
        ({"device": "local", "backend": "cpu (runner=benchmark_model)"}, "none is set"),
        ({"recipe": "int8"}, "needs samples of its own"),
        ({"recipe": "no_such"}, "no_such"),
        ({"recipe": "int8", "data": "few.npz"}, "calibrates: give it samples"),
        ({"model_a": "builtin:digits_cnn"}, "give samples that fit it with --data"),
        ({"calibration": "few.npz"}, "none to measure with"),
        ({"data": "gone.npz"}, "there is no dataset gone.npz"),
    ],
)
def test_what_can_never_work_is_refused(
    given: dict[str, Any], words: str, files: dict[str, str], tmp_path: Path,
    profiles: Callable[..., None], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.tflite").write_text("hello, this is no model")
    (tmp_path / "cut.tflite").write_bytes(Path(files["small"]).read_bytes()[:300])
    np.savez(tmp_path / "few.npz", images=np.ones((3, 8, 8, 4), "f4"), labels=np.arange(3))
    profiles("emulated", transport="ssh", host="nowhere", kind="emulated")
    asked = {"model_a": files["small"], "device": "pixel-3", **given}
    with pytest.raises(HarnessError) as caught:
        harness.ab(**asked, store=f"sqlite:///{tmp_path}/none.db")
    assert words in caught.value.one_line and caught.value.exit_code == 2
    stored = tmp_path / "none.db"
    assert not stored.exists() or not Store(f"sqlite:///{stored}").runs()


def test_the_command_line_tells_what_is_wrong(cli: Cli, files: dict[str, str]) -> None:
    done = cli("ab", files["small"], "--device", "pixel-3", "--trial-seconds", "-1")
    assert done.returncode == 2 and done.stderr.startswith("error: --trial-seconds: min_seconds")
    done = cli("ab", files["small"], "--device", "pixel-3", "--format", "xml")
    assert done.returncode == 2 and "known: table, json, csv, markdown" in done.stderr


def test_a_variant_that_does_not_fit_ends_it(
    files: dict[str, str], store: Store, tmp_path: Path, cli: Cli
) -> None:
    np.savez(tmp_path / "d.npz", images=np.ones((3, 8, 8, 4), "f4"), labels=np.arange(3))
    given = ("--data", "d.npz", "-d", "pixel-3", "--store", store.url)
    done = cli("ab", files["small"], files["large"], *given)
    assert done.returncode == 3 and "cannot tell yet" in done.stdout
    assert "error: B: model large: dataset" in done.stderr
    small, large = store.jobs(store.find_run("last").id)
    assert (small.status, large.status) == (JobStatus.SKIPPED, JobStatus.FAILED)
    assert small.error == "not measured: what it was to be compared with failed"


def test_a_trial_that_fails_for_good_ends_it(
    files: dict[str, str], store: Store, profiles: Callable[..., None], tmp_path: Path
) -> None:
    python, broken = tmp_path / "python", tmp_path / "broken"
    python.write_text(
        f'#!/bin/sh\n[ -e "{broken}" ] && exit 7\nexec "{sys.executable}" "$@"\n'
    )  # fmt: skip
    python.chmod(0o755)
    profiles("here")
    profiles("breaking", python=str(python))

    def tell(event: Event) -> None:
        if isinstance(event, RoundEnded) and event.standing.rounds == 2:
            broken.touch()

    found = harness.ab(
        files["small"], device="here", device_b="breaking", policy=LIGHT, store=store, tell=tell
    )
    assert found.contest.exit_code == 3 and found.contest.ended == "failed"
    assert found.contest.failure.startswith("B: breaking: the agent ended before it said hello")
    a, b = found.rows()
    assert (a["status"], b["status"]) == ("ok", "failed") and b["trials"] == 2
    assert a["trials"] in (2, 3) and "failed: B:" in found.text("markdown")
    # A trial that fails once is repeated, as in any run.
    broken.unlink()
    python.write_text(
        f'#!/bin/sh\n[ -e "{broken}" ] && rm "{broken}" && exit 7\nexec "{sys.executable}" "$@"\n'
    )
    policy = replace(LIGHT, retries=1)
    found = harness.ab(
        files["small"], device="breaking", policy=policy, store=store, tell=tell, max_rounds=3
    )
    assert found.contest.failure == "" and found.contest.a.medians
    jobs = store.jobs(found.contest.run)
    assert sum(job.facts["repeated"] for job in jobs) == 1


def test_a_device_that_cannot_be_had_fails_both(
    files: dict[str, str], store: Store, profiles: Callable[..., None]
) -> None:
    profiles("gone", python="/nowhere/python")
    found = harness.ab(files["small"], device="gone", policy=LIGHT, store=store)
    assert found.contest.ended == "failed" and "/nowhere/python" in found.contest.failure


def start(tmp_path: Path, *arguments: str) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [*harness_command(), "ab", *arguments, "-d", "pixel-3", "--min-effect", "0.1"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        stdin=subprocess.DEVNULL, env={**os.environ},
    )  # fmt: skip
    assert child.stderr
    for line in child.stderr:
        if "] round 5:" in line:
            return child
    raise AssertionError(f"no fifth round: {child.wait()}")


def test_an_interrupt_tells_what_is_known(tmp_path: Path, files: dict[str, str]) -> None:
    child = start(tmp_path, files["large"], files["large"])
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "cannot tell yet: B/A is " in out and "interrupted" in out
    assert "stopping; a trial that is running is finished" in err


@pytest.mark.slow
def test_killed_it_leaves_a_run_that_can_be_finished(
    tmp_path: Path, files: dict[str, str], cli: Cli
) -> None:
    child = start(tmp_path, files["large"], files["large"])
    child.kill()
    child.communicate()
    with Store(f"sqlite:///{tmp_path}/results/harness.db", create=False) as store:
        (run,) = store.runs()
        kept = [
            trial for job in store.jobs(run.id) for trial in store.trials(job.id)
            if trial.status is TrialStatus.OK and trial.purpose == "latency"
        ]  # fmt: skip
    assert len(kept) >= 10
    resumed = cli("run", "--resume", run.id, "--format", "json")
    assert resumed.returncode == 0, resumed.stderr
    assert {row["status"] for row in json.loads(resumed.stdout)} == {"ok"}
    # Anew, it does not mind the one that was killed.
    done = cli("ab", files["large"], files["small"], "-d", "pixel-3")
    assert done.returncode == 0 and "B is faster" in done.stdout


def test_stopped_before_it_began_it_says_so(files: dict[str, str], store: Store) -> None:
    stop = Stop()
    stop.request()
    found = harness.ab(files["small"], device="pixel-3", store=store, stop=stop)
    assert found.contest.exit_code == 130
    assert found.sentence.startswith("cannot tell yet: no round has ended, after 0 rounds")


def test_on_a_terminal_one_line_is_updated(files: dict[str, str], store: Store) -> None:
    out = io.StringIO()
    with Progress(
        "{task.description}", console=Console(file=out, force_terminal=True, width=150),
        refresh_per_second=1000,
    ) as line:  # fmt: skip
        live, seen = Live(line, line.console.print), []

        def tell(event: Event) -> None:
            live(event)
            seen.append(line.tasks[0].description)

        harness.ab(files["large"], files["small"], device="pixel-3", policy=LIGHT, store=store,
                   tell=tell)  # fmt: skip
    assert "measuring A" in seen and any(
        text.startswith("round 2: A ") and text.endswith("; measuring B") for text in seen
    )
    assert "connected" in out.getvalue()
