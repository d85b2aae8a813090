"""Trials of simulated devices on their way to the store."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.devices.lock import HostLock
from harness.domain import Backend, DeviceKind, Fence, Job, JobStatus, Stage, TrialStatus
from harness.errors import DeviceBusyError, LeaseLostError, SealedError, StoreFullError
from harness.store import Batch, Conclusion, JobStore, Store, batch
from tests.support import write_suite


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/s.db")


def job(store: Store, run: str) -> int:
    planned = Job(0, "m", "float32", "d", DeviceKind.SIMULATED, Backend("cpu", 1))
    store.create_run(run, {"name": "s"}, {}, [planned])
    return store.jobs(run)[0].id


def measure(target: JobStore, job_id: int, *, seal: bool = True) -> None:
    values = np.arange(5, dtype=np.int64)
    for index in range(3):
        trial = target.begin_trial(job_id, index, "latency")
        for seq, phase in enumerate(("first", "measure", "measure")):
            target.append_samples(trial, seq, phase, values + seq, values * index)
        status = TrialStatus.FAILED if index == 1 else TrialStatus.OK
        target.end_trial(
            trial, status, hello={"a": 1}, facts={"index": index},
            error="odd" if index == 1 else None, artifacts={"p": values + index},
        )  # fmt: skip
    if seal:
        target.seal_job(Conclusion(job_id, JobStatus.OK, Stage.DONE, artifacts={"q": values}))


def kept(store: JobStore, job_id: int) -> list[Any]:
    found = [
        (t.index, t.purpose, t.status, t.error, dict(t.hello), dict(t.facts),
         {name: [part.tolist() for part in pair] for name, pair in t.phases.items()})
        for t in store.trials(job_id, with_samples=True)
    ]  # fmt: skip
    arrays = store.artifacts(job_id, ["p", "q"])
    return [found, {name: array.tolist() for name, array in arrays.items()}]


@pytest.mark.parametrize("limit", ["none", "seconds", "bytes"])
def test_what_comes_of_it_is_what_the_store_would_have(
    store: Store, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    if limit != "none":  # written after every trial, or in the middle of each
        monkeypatch.setattr(batch, limit.upper(), 0)
    straight, batched = job(store, "straight"), job(store, "batched")
    measure(store, straight)
    with Batch(store, [batched]) as target:
        measure(target, batched)
        with pytest.raises(SealedError):
            target.seal_job(Conclusion(batched, JobStatus.OK, Stage.DONE))
    assert kept(store, batched) == kept(store, straight)
    assert [item.status for item in store.jobs("batched")] == [JobStatus.OK]


def test_what_was_not_written_yet_can_be_read(store: Store) -> None:
    straight, batched = job(store, "straight"), job(store, "batched")
    measure(store, straight, seal=False)
    target = Batch(store, [batched])
    measure(target, batched, seal=False)
    assert not store.trials(batched)
    assert kept(target, batched) == kept(store, straight)
    target.flush()
    assert kept(store, batched) == kept(target, batched) == kept(store, straight)


def test_a_resumed_job_has_its_earlier_trials(store: Store) -> None:
    number = job(store, "run")
    with Batch(store, [number]) as target:
        measure(target, number, seal=False)
    with Batch(store, []) as target:
        trial = target.begin_trial(number, 3, "latency")
        target.end_trial(trial, TrialStatus.OK)
        assert [item.index for item in target.trials(number)] == [0, 1, 2, 3]
    assert [item.index for item in store.trials(number)] == [0, 1, 2, 3]


def test_a_running_trial_is_lost_and_no_other(store: Store) -> None:
    number = job(store, "run")
    target = Batch(store, [number])
    measure(target, number, seal=False)
    target.begin_trial(number, 3, "latency")
    target.flush()  # as the clock does
    assert [item.index for item in store.trials(number)] == [0, 1, 2]


def test_what_is_told_of_a_sealed_job_waits_for_the_database(store: Store) -> None:
    first, second = job(store, "first"), job(store, "second")
    told: list[str] = []
    with Batch(store, [first, second]) as target:
        target.once_written(lambda: told.append("begun"))
        measure(target, first)
        target.once_written(lambda: told.append("sealed"))
        measure(target, second, seal=False)
        target.once_written(lambda: told.append("more"))
        assert told == ["begun"]
        target.flush()
        assert told == ["begun", "sealed", "more"]
        assert store.jobs("first")[0].status is JobStatus.OK
    assert [item.index for item in store.trials(second)] == [0, 1, 2]


def test_what_could_not_be_written_is_not_told(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = job(store, "run")
    told: list[str] = []
    target = Batch(store, [number])
    measure(target, number)
    target.once_written(lambda: told.append("sealed"))

    def full(*_: object) -> None:
        raise StoreFullError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(store, "write", full)
        with pytest.raises(StoreFullError):
            target.flush()
    target.flush()
    assert told == []


def test_a_session_that_was_followed_writes_nothing_and_can_say_so(store: Store) -> None:
    number = job(store, "run")
    store.claim(Fence("place", 2))
    with Batch(store, [number]) as target:
        trial = target.begin_trial(number, 0, "latency")
        with pytest.raises(LeaseLostError):
            target.end_trial(trial, TrialStatus.OK, fence=Fence("place", 1))
        target.end_trial(trial, TrialStatus.FAILED, error="followed")
    assert [item.error for item in store.trials(number)] == ["followed"]


def test_what_is_kept_back_is_written_before_another_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: dict[str, Path]
) -> None:
    """Waiting for this machine may take an hour, in which the process may be killed."""
    monkeypatch.setattr(batch, "SECONDS", 1e9)
    seen: list[int] = []
    acquire = HostLock.acquire

    def reluctant(lock: HostLock) -> None:
        if threading.current_thread().name.startswith("lane"):
            with Store(f"sqlite:///{tmp_path}/s.db", create=False) as other:
                seen.append(other.counts(other.find_run("last").id).get("ok", 0))
            if len(seen) == 2:  # by the second device
                raise DeviceBusyError("somebody has it")
        acquire(lock)

    monkeypatch.setattr(HostLock, "acquire", reluctant)
    suite = write_suite(tmp_path / "suite.toml", devices=["pixel-3", "pixel-4"])
    result = harness.run(suite, store=f"sqlite:///{tmp_path}/s.db")
    ended = {status.value: count for status, count in result.outcome.counts.items()}
    assert set(ended) == {"ok"} and seen == [0, 0, ended["ok"] / 2]
