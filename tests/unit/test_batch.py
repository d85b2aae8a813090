"""Trials of simulated devices on their way to the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.domain import Backend, DeviceKind, Job, JobStatus, Stage, TrialStatus
from harness.errors import SealedError
from harness.store import Batch, Conclusion, JobStore, Store, batch


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
