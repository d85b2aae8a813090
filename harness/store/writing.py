"""Rows that are written in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from harness.domain import Advisory, JobStatus, Measurement, Stage, TrialStatus
from harness.errors import SealedError, StoreError
from harness.store import schema
from harness.store.codec import encode_samples
from harness.store.records import TrialRecord, now

#: Columns of a job that a conclusion sets where it says something of them.
_KEPT = ("variant_sha256", "size_bytes", "manifest", "runtime", "runtime_version", "facts")


def _unless_given(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    kind = sa.JSON(none_as_null=True) if isinstance(column.type, sa.JSON) else column.type
    return sa.func.coalesce(sa.bindparam(f"new_{column.name}", type_=kind), column, type_=kind)


_SEAL = (
    sa.update(schema.jobs)
    .where(schema.jobs.c.id == sa.bindparam("job"), schema.jobs.c.sealed_at.is_(None))
    .values(
        status=sa.bindparam("new_status"),
        stage=sa.bindparam("new_stage"),
        error=sa.bindparam("new_error"),
        sealed_at=sa.bindparam("at"),
        **{name: _unless_given(schema.jobs.c[name]) for name in _KEPT},
    )
)

_DROP_ARTIFACT = sa.delete(schema.artifacts).where(
    schema.artifacts.c.job_id == sa.bindparam("job"),
    schema.artifacts.c.name == sa.bindparam("called"),
)


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
    at: str = field(default_factory=now)


def put_rows(connection: Connection, rows: Sequence[Rows]) -> list[list[int]]:
    """Insert trials with their samples and arrays; returns the trials' ids, job by job."""
    table = schema.trials
    trials = [item for found in rows for item in found.trials]
    ids: list[int] = []
    if trials:
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
            for item in trials
        ]
        ids = [int(found) for found in connection.execute(insert, values).scalars()]
    chunks = [part for found in rows for part in found.chunks]
    samples = [
        {"trial_id": trial, "seq": seq, "phase": phase, "n": len(values),
         "data": encode_samples(at, values)}
        for trial, parts in zip(ids, chunks, strict=True)
        for seq, phase, at, values in parts
    ]  # fmt: skip
    if samples:
        connection.execute(sa.insert(schema.samples), samples)
    put_artifacts(connection, [(found.job_id, found.artifacts) for found in rows])
    left = iter(ids)
    return [[next(left) for _ in found.trials] for found in rows]


def seal(connection: Connection, sealed: Sequence[Conclusion]) -> None:
    """Write the conclusions of jobs; raises ``SealedError`` where one has been written."""
    if not sealed:
        return
    changed = connection.execute(
        _SEAL,
        [
            {
                "job": item.job_id,
                "new_status": item.status.value,
                "new_stage": item.stage.value,
                "new_error": item.error,
                "at": item.at,
                **{f"new_{name}": getattr(item, name) for name in _KEPT},
                **{
                    f"new_{name}": None if kept is None else dict(kept)
                    for name, kept in (("manifest", item.manifest), ("facts", item.facts))
                },
            }
            for item in sealed
        ],
    ).rowcount
    if changed != len(sealed):
        raise SealedError("a job was sealed by another process meanwhile")
    end_running(connection, [item.job_id for item in sealed])
    put_artifacts(connection, [(item.job_id, item.artifacts) for item in sealed])
    conclude(connection, sealed)


def refuse_sealed(connection: Connection, job_ids: Collection[int]) -> None:
    """Raises ``SealedError`` if one of the jobs is sealed, ``StoreError`` if one is not there.

    They stay as they are until the caller's transaction ends.
    """
    found: dict[int, str | None] = {}
    for some in batched(sorted(job_ids)):
        query = sa.select(schema.jobs.c.id, schema.jobs.c.sealed_at).where(
            schema.jobs.c.id.in_(some)
        )
        found |= {int(job): at for job, at in connection.execute(query.with_for_update())}
    for job_id in job_ids:
        if job_id not in found:
            raise StoreError(f"there is no job {job_id}")
        if found[job_id] is not None:
            raise SealedError(f"job {job_id} is sealed")


def put_artifacts(
    connection: Connection, arrays: Sequence[tuple[int, Mapping[str, NDArray[Any]]]]
) -> None:
    """Keep arrays with jobs, in place of older ones of these names."""
    keys = [{"job": job_id, "called": name} for job_id, named in arrays for name in named]
    if not keys:
        return
    table = schema.artifacts
    connection.execute(_DROP_ARTIFACT, keys)
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
            for job_id, named in arrays
            for name, array in named.items()
        ],
    )


def conclude(connection: Connection, sealed: Sequence[Conclusion]) -> None:
    """Write what the observations of jobs came to."""
    measurements = [
        {
            "job_id": job.job_id,
            "name": item.name,
            "value": item.value,
            "low": item.low,
            "high": item.high,
            "unit": item.unit,
            "better": item.better.value,
            "n": item.n,
            "groups": item.groups,
        }
        for job in sealed
        for item in job.measurements
    ]
    if measurements:
        connection.execute(sa.insert(schema.measurements), measurements)
    advisories = [
        {"job_id": job.job_id, "seq": seq, "kind": item.kind.value, "evidence": item.evidence}
        for job in sealed
        for seq, item in enumerate(job.advisories)
    ]
    if advisories:
        connection.execute(sa.insert(schema.advisories), advisories)


def end_running(connection: Connection, job_ids: Sequence[int]) -> None:
    """Close the trials of jobs that never ended."""
    for some in batched(job_ids):
        _fail_trials(connection, some, TrialStatus.RUNNING, "cut off")


def withdraw(connection: Connection, job_id: int, why: str) -> None:
    """Make what a job has so far count no longer; the samples are kept."""
    _fail_trials(connection, [job_id], TrialStatus.RUNNING, why)
    _fail_trials(connection, [job_id], TrialStatus.OK, why)
    connection.execute(sa.delete(schema.artifacts).where(schema.artifacts.c.job_id == job_id))


def _fail_trials(
    connection: Connection, job_ids: Sequence[int], status: TrialStatus, why: str
) -> None:
    connection.execute(
        sa.update(schema.trials)
        .where(schema.trials.c.job_id.in_(job_ids), schema.trials.c.status == status.value)
        .values(status=TrialStatus.FAILED.value, error=why)
    )


def batched(values: Sequence[int], size: int = 500) -> Iterator[Sequence[int]]:
    """Parts that fit a statement: SQLite takes 999 parameters in older versions."""
    for begin in range(0, len(values), size):
        yield values[begin : begin + size]
