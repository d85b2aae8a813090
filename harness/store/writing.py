"""Rows that are written in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from harness.domain import Advisory, JobStatus, Measurement, Stage, TrialStatus
from harness.errors import SealedError
from harness.store import schema
from harness.store.codec import encode_samples
from harness.store.records import TrialRecord


@dataclass(frozen=True, slots=True)
class Rows:
    """Trials of one job that are not in the database yet, each with its chunks of samples
    (number, phase, start times, values), and the job's arrays."""

    job_id: int
    trials: Sequence[TrialRecord]
    chunks: Sequence[Sequence[tuple[int, str, NDArray[np.int64], NDArray[np.int64]]]]
    artifacts: Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A job's sealed record; what is ``None`` stays as it was noted before measuring."""

    job_id: int
    status: JobStatus
    stage: Stage
    error: str | None = None
    variant_sha256: str | None = None
    size_bytes: int | None = None
    manifest: Mapping[str, Any] | None = None
    runtime: str | None = None
    runtime_version: str | None = None
    facts: Mapping[str, Any] | None = None
    measurements: Sequence[Measurement] = ()
    advisories: Sequence[Advisory] = ()
    artifacts: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def put_rows(connection: Connection, rows: Rows) -> list[int]:
    """Insert trials with their samples and arrays; returns the trials' ids."""
    table = schema.trials
    ids: list[int] = []
    if rows.trials:
        # The order of the rows is the order of the ids: it tells which trial came first.
        insert = sa.insert(table).returning(table.c.id, sort_by_parameter_order=True)
        values = [
            {
                "job_id": item.job_id,
                "idx": item.index,
                "purpose": item.purpose,
                "status": item.status.value,
                "started": item.started,
                "error": item.error,
                "hello": dict(item.hello),
                "facts": dict(item.facts),
            }
            for item in rows.trials
        ]
        ids = [int(found) for found in connection.execute(insert, values).scalars()]
    samples = [
        {"trial_id": trial, "seq": seq, "phase": phase, "n": len(values),
         "data": encode_samples(at, values)}
        for trial, chunks in zip(ids, rows.chunks, strict=True)
        for seq, phase, at, values in chunks
    ]  # fmt: skip
    if samples:
        connection.execute(sa.insert(schema.samples), samples)
    put_artifacts(connection, rows.job_id, rows.artifacts)
    return ids


def seal(connection: Connection, sealed: Conclusion, at: str) -> None:
    """Write a job's conclusion; raises ``SealedError`` for a job that has one."""
    kept: dict[str, Any] = {
        "variant_sha256": sealed.variant_sha256,
        "size_bytes": sealed.size_bytes,
        "manifest": None if sealed.manifest is None else dict(sealed.manifest),
        "runtime": sealed.runtime,
        "runtime_version": sealed.runtime_version,
        "facts": None if sealed.facts is None else dict(sealed.facts),
    }
    job_id = sealed.job_id
    changed = connection.execute(
        sa.update(schema.jobs)
        .where(schema.jobs.c.id == job_id, schema.jobs.c.sealed_at.is_(None))
        .values(
            status=sealed.status.value,
            stage=sealed.stage.value,
            error=sealed.error,
            sealed_at=at,
            # What is not given stays as it was noted before measuring.
            **{key: value for key, value in kept.items() if value is not None},
        )
    ).rowcount
    if changed != 1:
        raise SealedError(f"job {job_id} is sealed already (or unknown)")
    end_running(connection, job_id)
    put_artifacts(connection, job_id, sealed.artifacts)
    conclude(connection, job_id, sealed.measurements, sealed.advisories)


def put_artifacts(connection: Connection, job_id: int, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep arrays with a job, in place of older ones of these names."""
    if not arrays:
        return
    table = schema.artifacts
    connection.execute(
        sa.delete(table).where(table.c.job_id == job_id, table.c.name.in_(list(arrays)))
    )
    connection.execute(
        sa.insert(table),
        [
            {
                "job_id": job_id,
                "name": name,
                "dtype": array.dtype.str,
                "shape": list(array.shape),
                "data": np.ascontiguousarray(array).tobytes(),
            }
            for name, array in arrays.items()
        ],
    )


def conclude(
    connection: Connection,
    job_id: int,
    measurements: Sequence[Measurement],
    advisories: Sequence[Advisory],
) -> None:
    """Write what a job's observations came to."""
    if measurements:
        connection.execute(
            sa.insert(schema.measurements),
            [
                {
                    "job_id": job_id,
                    "name": item.name,
                    "value": item.value,
                    "low": item.low,
                    "high": item.high,
                    "unit": item.unit,
                    "better": item.better.value,
                    "n": item.n,
                    "groups": item.groups,
                }
                for item in measurements
            ],
        )
    if advisories:
        connection.execute(
            sa.insert(schema.advisories),
            [
                {
                    "job_id": job_id,
                    "seq": seq,
                    "kind": item.kind.value,
                    "evidence": item.evidence,
                }
                for seq, item in enumerate(advisories)
            ],
        )


def end_running(connection: Connection, job_id: int) -> None:
    """Close the trials of a job that never ended."""
    _fail_trials(connection, job_id, TrialStatus.RUNNING, "cut off")


def withdraw(connection: Connection, job_id: int, why: str) -> None:
    """Make what a job has so far count no longer; the samples are kept."""
    _fail_trials(connection, job_id, TrialStatus.RUNNING, why)
    _fail_trials(connection, job_id, TrialStatus.OK, why)
    connection.execute(sa.delete(schema.artifacts).where(schema.artifacts.c.job_id == job_id))


def _fail_trials(connection: Connection, job_id: int, status: TrialStatus, why: str) -> None:
    connection.execute(
        sa.update(schema.trials)
        .where(schema.trials.c.job_id == job_id, schema.trials.c.status == status.value)
        .values(status=TrialStatus.FAILED.value, error=why)
    )
