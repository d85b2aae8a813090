"""A store that a disk, a person or another program has changed."""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.domain import (
    Backend,
    DeviceKind,
    Direction,
    Job,
    JobStatus,
    Measurement,
    Stage,
    TrialStatus,
)
from harness.errors import StoreError
from harness.store import Conclusion, Store
from harness.store.codec import decode_samples, encode_samples


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/s.db") as opened:
        job = Job(0, "m", "int8", "local", DeviceKind.REAL, Backend("cpu", 1))
        opened.create_run("run-1", {"name": "suite"}, {}, [job])
        found = opened.jobs("run-1")[0].id
        trial = opened.begin_trial(found, 0, "latency")
        opened.append_samples(trial, 0, "measure", np.arange(5), np.arange(5))
        opened.end_trial(trial, TrialStatus.OK)
        measured = Measurement("latency_median", 5.0, "ns", Direction.LOWER, 5, 4.0, 6.0, 1)
        opened.seal_job(Conclusion(found, JobStatus.OK, list(Stage)[-1], measurements=[measured]))
        yield opened


def change(path: Path, statement: str, *values: object) -> None:
    with sqlite3.connect(path / "s.db") as connection:
        connection.execute(statement, values)
    connection.close()


def packed(n: int, body: bytes) -> bytes:
    return struct.pack("<BI", 1, n) + zlib.compress(body)


@pytest.mark.parametrize(
    "data",
    [
        packed(1, b"12345"),
        packed(1, b"1" * 24),
        packed(0, b"1" * 100_000_000),
        encode_samples(np.arange(5), np.arange(5)) + b"garbage",
        encode_samples(np.arange(5), np.arange(5))[:-2],
        "text",
        None,
        7,
    ],
)
def test_samples_that_are_none_are_damaged(data: object) -> None:
    with pytest.raises(StoreError, match="damaged samples"):
        decode_samples(data)


@pytest.mark.parametrize("data", ["text", packed(1, b"12345")])
def test_damaged_samples_say_whose_they_are(store: Store, tmp_path: Path, data: object) -> None:
    change(tmp_path, "UPDATE samples SET data = ?", data)
    job = store.jobs("run-1")[0]
    with pytest.raises(StoreError, match=rf"trial 1 of job {job.id}: damaged samples"):
        store.trials(job.id, with_samples=True)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("facts", "{bad"),
        ("facts", "[]"),
        ("facts", "[" * 100_000),
        ("facts", "null"),
        ("manifest", "7"),
        ("status", "great"),
        ("stage", ""),
        ("kind", "imagined"),
        ("backend", "cpu x-3"),
        ("size_bytes", "large"),
    ],
)
def test_a_damaged_job_is_named(store: Store, tmp_path: Path, column: str, value: str) -> None:
    change(tmp_path, f"UPDATE jobs SET {column} = ?", value)
    with pytest.raises(StoreError, match=r"job 1 \(m/int8 on local\) of run run-1 is damaged"):
        store.jobs("run-1")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE measurements SET value = 'fast'", "job 1, its measurement latency_median"),
        ("UPDATE measurements SET better = 'often'", "job 1, its measurement latency_median"),
        ("INSERT INTO advisories VALUES (1, 0, 'gossip', '')", "job 1, its advisory 0"),
        ("UPDATE runs SET suite = '{bad'", "run run-1"),
        ("UPDATE trials SET facts = '{bad'", "trial 1 of job 1"),
        ("UPDATE trials SET status = 'great'", "trial 1 of job 1"),
    ],
)
def test_what_else_is_damaged_is_named(
    store: Store, tmp_path: Path, statement: str, words: str
) -> None:
    change(tmp_path, statement)
    with pytest.raises(StoreError, match=f"the record of {words} is damaged"):
        for run in store.runs():
            for job in store.jobs(run.id):
                store.trials(job.id)


def test_facts_of_a_damaged_trial(store: Store, tmp_path: Path) -> None:
    change(tmp_path, "UPDATE trials SET facts = '[1]'")
    with pytest.raises(StoreError, match=r"trial \(latency\) of job 1 is damaged"):
        store.facts_of("run-1", "latency")


def test_a_job_whose_run_has_gone_is_named(store: Store, tmp_path: Path) -> None:
    change(tmp_path, "DELETE FROM runs")
    with pytest.raises(StoreError, match=r"job 1 \(m/int8 on local\) belongs to the run run-1"):
        store.jobs_on("local")
