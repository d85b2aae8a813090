"""Devices that are shared, cut off, restarted, short of memory or hung: over a real ssh link."""

from __future__ import annotations

import functools
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.config.suites import load_suite
from harness.devices import session as session_module
from harness.devices.lease import DeviceLease
from harness.devices.session import Session
from harness.domain import Device, Stage, TrialStatus
from harness.errors import DeviceBusyError, LeaseLostError
from harness.orchestrate import events
from harness.orchestrate.environment import known_names
from harness.orchestrate.stop import Stop
from harness.store import JobRecord, Store
from tests.integration.test_ssh_push import force
from tests.support import harness_command, write_suite
from tests.support.agent import AgentProcess, request
from tests.support.sshd import Sshd, start_sshd, when_measuring


def board(sshd: Sshd, tmp_path: Path) -> Device:
    path = write_suite(tmp_path / "board.toml", devices=["board"], device=sshd.device("board"))
    return load_suite(path, known_names()).devices[0]


def slow_suite(path: Path, seconds: float, **changes: Any) -> Path:
    suite = write_suite(path, **changes)
    suite.write_text(suite.read_text().replace("min_seconds = 0.01", f"min_seconds = {seconds}"))
    return suite


def as_another_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Locks of this process are not those of the process before."""
    monkeypatch.setenv("HARNESS_LOCKS", str(tmp_path / f"locks-{time.monotonic_ns()}"))


def records(tmp_path: Path) -> list[JobRecord]:
    with Store(f"sqlite:///{tmp_path}/f.db", create=False) as store:
        return store.jobs(store.runs()[0].id)


def run(suite: Path, tmp_path: Path, **more: Any) -> list[dict[str, Any]]:
    return harness.run(suite, store=f"sqlite:///{tmp_path}/f.db", **more).rows()


def test_two_hosts_one_device(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = board(sshd, tmp_path)
    as_another_host(monkeypatch, tmp_path)
    with Session(device, "the first one") as first:
        as_another_host(monkeypatch, tmp_path)
        with pytest.raises(DeviceBusyError, match=r"process \d+\), the first one for"):
            Session(device, "the second one").__enter__()
        first.verify()
    with Session(device, "the second one") as second:
        assert second.fence is not None and second.fence.token == 2 and second.took_over == ""
        second.verify()


def test_a_late_session_cannot_start_an_agent_or_store_a_result(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = board(sshd, tmp_path)
    as_another_host(monkeypatch, tmp_path)
    with Store(f"sqlite:///{tmp_path}/f.db") as store, Session(device, "late") as late:
        late.push([], lambda *seen: None)
        assert late.fence is not None
        store.claim(late.fence)
        # The host was asleep for longer than it said.
        (sshd.folder / "edge-harness-lease/1/beat").write_text("1 1\n")
        as_another_host(monkeypatch, tmp_path)
        with Session(device, "new") as new:
            assert "late" in new.took_over and new.fence is not None
            with pytest.raises(LeaseLostError):
                late.ask({"action": "probe"}, lambda *_: None, purpose=Stage.START, silence=30)
            store.claim(new.fence)
            with pytest.raises(LeaseLostError):
                store.claim(late.fence)
            with pytest.raises(LeaseLostError, match="new"):
                late.verify()
            new.push([], lambda *seen: None)
            new.ask({"action": "probe"}, lambda *_: None, purpose=Stage.START, silence=30)
            new.verify()


def test_a_hung_agent_is_repeated_and_does_not_stay(
    sshd: Sshd, tmp_path: Path, digits: dict[str, Path]
) -> None:
    suite = slow_suite(
        tmp_path / "suite.toml", 1.0, devices=["board"], device=sshd.device("board"),
        policy="silence_timeout = 2.0\nmeasure = ['latency']",
    )  # fmt: skip
    when_measuring(sshd, tmp_path / "f.db", lambda pid: os.kill(pid, signal.SIGSTOP))
    (row,) = run(suite, tmp_path)
    assert row["status"] == "ok" and "trials_failed" in row["advisories"], row
    (record,) = records(tmp_path)
    assert record.facts["repeated"] == 1 and record.facts["attempts"] == 3
    with Store(f"sqlite:///{tmp_path}/f.db") as store:
        trials = store.trials(record.id)
    assert "said nothing for 2 s" in str([trial.error for trial in trials])
    until = time.monotonic() + 20
    while sshd.agents() and time.monotonic() < until:
        time.sleep(0.05)
    assert sshd.agents() == []


def test_an_agent_that_is_killed_is_repeated(
    sshd: Sshd, tmp_path: Path, digits: dict[str, Path]
) -> None:
    suite = slow_suite(
        tmp_path / "suite.toml", 1.5, devices=["board"], device=sshd.device("board"),
        policy="measure = ['latency']",
    )  # fmt: skip
    when_measuring(sshd, tmp_path / "f.db", lambda pid: os.kill(pid, signal.SIGKILL))
    (row,) = run(suite, tmp_path)
    assert row["status"] == "ok" and "trials_failed" in row["advisories"], row


def test_an_agent_without_memory_says_so(shared: Path, tmp_path: Path) -> None:
    """The runtime itself only says that it cannot load the model."""
    np.save(tmp_path / "samples.npy", np.zeros((1, 513, 513, 3), np.uint8))
    model = shared / "models" / "coral" / "deeplabv3_mnv2_dm05_pascal_quant.tflite"
    agent = AgentProcess()
    assert agent.hear()["problem"] is None
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    used = int(status.split("VmSize:")[1].split()[0]) * 1024
    resource.prlimit(agent.process.pid, resource.RLIMIT_AS, (used + 12_000_000,) * 2)
    agent.say(request("latency", model, tmp_path / "samples.npy", threads=1))
    messages, code, _ = agent.rest()
    assert code == 1 and messages[-1]["kind"] == "out_of_memory", messages
    assert "out of memory" in messages[-1]["message"] and messages[-1]["hint"]


@pytest.mark.slow
def test_a_device_that_is_restarted_in_the_middle(
    sshd: Sshd, tmp_path: Path, digits: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    proc = tmp_path / "proc"
    (proc / "sys/kernel/random").mkdir(parents=True)

    def boot(name: str, uptime: int) -> None:
        (proc / "sys/kernel/random/boot_id").write_text(f"{name}\n")
        (proc / "uptime").write_text(f"{uptime}.0 1.0\n")

    boot("before", 100_000)
    monkeypatch.setattr(
        session_module, "DeviceLease", functools.partial(DeviceLease, proc=str(proc))
    )

    def restart() -> None:
        for holder in lease_holders(sshd):
            os.kill(holder, signal.SIGKILL)  # nothing is closed
        sshd.stop()
        boot("after", 3)
        time.sleep(1)
        sshd.restart()

    suite = slow_suite(
        tmp_path / "suite.toml", 2.0, devices=["board"], device=sshd.device("board"),
        policy="retries = 6\nmeasure = ['latency']", trials=2,
    )  # fmt: skip
    when_measuring(sshd, tmp_path / "f.db", lambda pid: restart())
    (row,) = run(suite, tmp_path)
    assert row["status"] == "ok" and row["trials"] == 2, row
    assert "trials_failed" in row["advisories"]


def lease_holders(sshd: Sshd) -> list[int]:
    found = []
    for path in (sshd.folder / "edge-harness-lease").glob("[1-9]*/lease"):
        found.append(int(path.read_text().split()[2]))
    return found


@pytest.mark.slow
def test_two_orchestrators_take_turns_and_a_dead_one_leaves_nothing(
    sshd: Sshd, tmp_path: Path, digits: dict[str, Path]
) -> None:
    suite = slow_suite(
        tmp_path / "suite.toml", 2.5, devices=["board"], device=sshd.device("board"),
        policy="measure = ['latency']", trials=2,
    )  # fmt: skip

    def start(name: str) -> subprocess.Popen[str]:
        # Another host: locks, cache and results of its own.
        folder = tmp_path / name
        folder.mkdir()
        env = {**os.environ, "HARNESS_LOCKS": str(folder / "locks")}
        return subprocess.Popen(
            [*harness_command(), "run", str(suite), "--format", "json"], cwd=folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=env,
        )  # fmt: skip

    processes = {name: start(name) for name in ("first", "second")}
    waited, tokens = 0, []
    for name, process in processes.items():
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        waited += "waiting: device board is in use by" in err
        with Store(f"sqlite:///{tmp_path / name}/results/harness.db", create=False) as store:
            (record,) = store.jobs(store.runs()[0].id)
            trials = store.trials(record.id)
        assert [trial.status for trial in trials] == [TrialStatus.OK] * 3
        (token,) = {trial.facts["lease"]["token"] for trial in trials}
        assert record.facts["lease"]["token"] == token
        tokens.append(token)
    assert waited == 1 and sorted(tokens) == [1, 2]

    third = start("third")
    until = time.monotonic() + 60
    while not sshd.agents() and time.monotonic() < until:
        time.sleep(0.05)
    third.kill()
    third.communicate()
    until = time.monotonic() + 20
    while sshd.agents() and time.monotonic() < until:
        time.sleep(0.05)
    assert sshd.agents() == []
    with Session(board(sshd, tmp_path), "next") as session:
        assert session.fence is not None and session.fence.token == 4


@pytest.mark.slow
def test_a_cut_link_gives_the_device_back_to_whoever_held_it(
    sshd: Sshd, tmp_path: Path, digits: dict[str, Path]
) -> None:
    suite = slow_suite(
        tmp_path / "suite.toml", 2.0, devices=["board"], device=sshd.device("board"), trials=2,
        policy="measure = ['latency']",
    )  # fmt: skip
    when_measuring(sshd, tmp_path / "f.db", lambda pid: sshd.cut())
    (row,) = run(suite, tmp_path)
    assert row["status"] == "ok" and "trials_failed" in row["advisories"]
    (record,) = records(tmp_path)
    with Store(f"sqlite:///{tmp_path}/f.db") as store:
        ok = [item for item in store.trials(record.id) if item.status is TrialStatus.OK]
    assert [item.facts["lease"]["token"] for item in ok][-1] == 2


class Told(list[events.Event]):
    """Every event of a run."""

    def __call__(self, event: events.Event) -> None:
        self.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]


@pytest.fixture
def sibling(tmp_path: Path) -> Any:
    with start_sshd(tmp_path / "sibling") as server:
        yield server


@pytest.mark.slow
def test_jobs_of_a_device_that_goes_away_move_to_its_sibling(
    sshd: Sshd, sibling: Sshd, tmp_path: Path, digits: dict[str, Path]
) -> None:
    suite = slow_suite(
        tmp_path / "suite.toml", 1.0, devices=["one", "two"], recipes=["float32", "int8"],
        device=sshd.device("one", title="Board 4") + sibling.device("two", title="Board 4"),
        policy="move_jobs = true", trials=2,
    )  # fmt: skip
    told = Told()
    when_measuring(sshd, tmp_path / "f.db", lambda pid: sshd.stop())
    rows = {(row["device"], row["recipe"]): row for row in run(suite, tmp_path, tell=told)}
    (aside,) = told.of(events.DeviceSetAside)
    assert aside.device == "one" and "ssh" in aside.reason
    sealed = told.of(events.JobSealed)
    assert sorted(event.job.index for event in sealed) == [0, 1, 2, 3]
    for recipe in ("float32", "int8"):
        assert rows["two", recipe]["status"] == "ok" and rows["two", recipe]["ran_on"] is None
        row = rows["one", recipe]
        assert row["status"] == "ok" and row["ran_on"] == "two", row
        assert "moved" in row["advisories"] and row["trials"] == 2
    for record in records(tmp_path):
        with Store(f"sqlite:///{tmp_path}/f.db") as store:
            ok = [item for item in store.trials(record.id) if item.status is TrialStatus.OK]
        assert len({item.facts["lease"]["place"] for item in ok}) == 1 and len(ok) == 3
    moved = next(record for record in records(tmp_path) if record.facts.get("ran_on"))
    assert "ssh" in moved.facts["moved_because"]


#: An agent that works and works.
BUSY = """#!{python}
import json, os, sys, time
if sys.argv[1] == "-c":
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
import subprocess
agent = subprocess.Popen([{python!r}, *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
sys.stdout.buffer.write(agent.stdout.readline())
sys.stdout.flush()
agent.kill()
sys.stdin.readline()
while True:
    print(json.dumps({{"type": "progress"}}), flush=True)
    time.sleep(0.05)
"""


def test_an_agent_that_only_says_that_it_works(
    tmp_path: Path, digits: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.devices.session._MOST_SILENCES", 2)
    suite = write_suite(
        tmp_path / "suite.toml", devices=["odd"], device=odd_device(tmp_path, BUSY),
        policy="retries = 0\nsilence_timeout = 1",
    )  # fmt: skip
    (row,) = run(suite, tmp_path)
    assert row["status"] == "failed" and "2 s that it works, and no more" in row["error"]


def test_a_link_cut_while_a_session_opens_is_no_reason_to_wait_for_oneself(
    sshd: Sshd, tmp_path: Path, digits: dict[str, Path]
) -> None:
    """The connection ends once, when the governor is about to be set."""
    force(
        sshd,
        f"""case $SSH_ORIGINAL_COMMAND in *"Sets the frequency governor"*)
  [ -e {tmp_path}/once ] || {{ touch {tmp_path}/once; kill -9 $PPID; exit 1; }} ;;
esac
eval "$SSH_ORIGINAL_COMMAND"
""",
    )
    suite = write_suite(
        tmp_path / "suite.toml", devices=["board"], device=sshd.device("board"),
        policy='retries = 2\nbusy_timeout = 5\ngovernor = "performance"',
    )  # fmt: skip
    (row,) = run(suite, tmp_path)
    assert row["status"] == "ok" and (tmp_path / "once").exists(), row


#: An agent that dies as soon as it has loaded the model.
DYING = """#!{python}
import os, sys
if sys.argv[1] == "-c":
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
sys.exit("board is on fire")
"""


def dying_device(tmp_path: Path) -> str:
    return odd_device(tmp_path, DYING)


def odd_device(tmp_path: Path, text: str) -> str:
    program = tmp_path / "python"
    program.write_text(text.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return f'\n[device.odd]\ntransport = "local"\npython = "{program}"\n'


def test_a_device_that_keeps_failing_is_set_aside(tmp_path: Path, digits: dict[str, Path]) -> None:
    suite = write_suite(
        tmp_path / "suite.toml", devices=["odd", "pixel-3"],
        recipes=["float32", "int8", "float16", "dynamic_int8"], device=dying_device(tmp_path),
        policy="give_up_after = 2\nretries = 0",
    )  # fmt: skip
    told = Told()
    rows = [row for row in run(suite, tmp_path, tell=told) if row["device"] == "odd"]
    assert [row["status"] for row in rows] == ["failed"] * 4
    assert ["set aside after 2 failures in a row" in row["error"] for row in rows] == [
        False, False, True, True,
    ]  # fmt: skip
    assert all("board is on fire" in row["error"] and row["stage"] == "start" for row in rows)
    (aside,) = told.of(events.DeviceSetAside)
    assert (aside.device, aside.jobs) == ("odd", 2)
    attempts = [record.facts["attempts"] for record in records(tmp_path)][::2]
    assert attempts == [1, 1, 0, 0]
    never = write_suite(
        tmp_path / "never.toml", devices=["odd"], recipes=["float32", "int8", "float16"],
        device=dying_device(tmp_path), policy="give_up_after = 0\nretries = 0",
    )  # fmt: skip
    assert not any("set aside" in row["error"] for row in run(never, tmp_path))


def test_a_moved_job_stays_moved_over_a_resume(tmp_path: Path, digits: dict[str, Path]) -> None:
    """Interrupted on the device that it was moved to, after its sweep."""
    suite = write_suite(
        tmp_path / "suite.toml", devices=["odd", "even"],
        device=dying_device(tmp_path) + '\n[device.even]\ntransport = "local"\n',
        policy="give_up_after = 1\nretries = 0\nmove_jobs = true",
    )  # fmt: skip
    stop, told, store = Stop(), Told(), f"sqlite:///{tmp_path}/f.db"

    def tell(event: events.Event) -> None:
        if isinstance(event, events.TrialEnded) and not event.error and event.job.device == "odd":
            stop.request()

    result = harness.run(suite, store=store, tell=tell, stop=stop)
    assert result.outcome is not None and result.outcome.interrupted
    odd, even = records(tmp_path)
    assert odd.sealed_at is None and odd.facts["ran_on"] == "even" and even.sealed_at
    rows = harness.run(resume=result.id, store=store, tell=told).rows()
    assert [(row["status"], row["ran_on"]) for row in rows] == [("ok", "even"), ("ok", None)]
    assert told.of(events.DeviceSetAside) == []
    with Store(store) as opened:
        trials = opened.trials(odd.id)
    assert [trial.purpose for trial in trials if trial.status is TrialStatus.OK] == [
        "accuracy", "latency",
    ]  # fmt: skip
