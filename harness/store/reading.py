"""Queries: rows of the database to records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from harness.domain import (
    Advisory,
    AdvisoryKind,
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
from harness.store import schema
from harness.store.baselines import LAST
from harness.store.codec import decode_samples
from harness.store.records import BaselineRecord, JobRecord, RunRecord, TrialRecord

#: Trials that one query names, at most.
_AT_ONCE = 500


@contextmanager
def _of(what: str) -> Iterator[None]:
    """Values that no harness has written are damage to the store; ``what`` says to what."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"the record of {what} is damaged: {error}",
            hint="restore the store from a copy, or use another one with --store",
        ) from None


def _object(value: object, name: str) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    raise ValueError(f"{name} is not a JSON object")


def _number(value: object, name: str) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    raise ValueError(f"{name} is not a number")


def runs(connection: Connection) -> list[RunRecord]:
    """Every run, newest first."""
    query = sa.select(schema.runs).order_by(schema.runs.c.created.desc(), schema.runs.c.id.desc())
    return [_run(row) for row in connection.execute(query)]


def _run(row: sa.Row[Any]) -> RunRecord:
    with _of(f"run {row.id}"):
        return RunRecord(
            row.id,
            row.suite_name,
            row.created,
            row.finished,
            row.status,
            _object(row.suite, "suite"),
            _object(row.environment, "environment"),
        )


def find(
    known: list[RunRecord], baselines: list[BaselineRecord], name: str, where: str
) -> RunRecord:
    """The run called ``name``; see ``Store.find_run``."""
    if name == LAST and known:
        return known[0]
    named = next((item for item in baselines if item.name == name), None)
    wanted = name if named is None else named.run
    matches = [run for run in known if run.id == name] or [
        run for run in known if wanted and run.id == wanted
    ]
    if not matches and named is not None:
        raise StoreError(
            f"the baseline {name!r} is the run {named.run}, which is no longer in {where}",
            hint=f"name another run: harness baseline set RUN --name {name}",
        )
    matches = matches or [run for run in known if name and run.id.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    newest = ", ".join(run.id for run in known[:3]) or "none yet"
    names = ", ".join(item.name for item in baselines)
    problem = "fits several runs" if matches else "is not a run"
    raise StoreError(
        f"{name!r} {problem} in {where}",
        hint=f"newest runs: {newest}; or 'last'" + (f"; baselines: {names}" if names else ""),
    )


def jobs(connection: Connection, run_id: str) -> list[JobRecord]:
    """Every job of a run in the order of the plan."""
    return _records(connection, schema.jobs.c.run_id == run_id)


def jobs_on(connection: Connection, device: str) -> list[JobRecord]:
    """Every job that was planned for a device or moved to it, of all runs; oldest run first."""
    moved = schema.jobs.c.facts["ran_on"].as_string()
    found = _records(connection, sa.or_(schema.jobs.c.device == device, moved == device))
    created = {run.id: run.created for run in runs(connection)}
    for item in found:
        if item.run not in created:
            raise StoreError(
                f"job {item.id} ({item.job.model}/{item.job.recipe} on {item.job.device}) belongs "
                f"to the run {item.run}, which is no longer in the store",
                hint="restore the store from a copy, or use another one with --store",
            )
    return sorted(found, key=lambda item: (created[item.run], item.run, item.job.index))


def _records(connection: Connection, chosen: sa.ColumnElement[bool]) -> list[JobRecord]:
    of_run = sa.select(schema.jobs.c.id).where(chosen).scalar_subquery()
    measured: dict[int, dict[str, Measurement]] = defaultdict(dict)
    table = schema.measurements
    for row in connection.execute(sa.select(table).where(table.c.job_id.in_(of_run))):
        with _of(f"job {row.job_id}, its measurement {row.name}"):
            measured[row.job_id][row.name] = Measurement(
                row.name,
                _number(row.value, "value"),
                row.unit,
                Direction(row.better),
                row.n,
                _number(row.low, "low"),
                _number(row.high, "high"),
                row.groups,
            )
    advised: dict[int, list[Advisory]] = defaultdict(list)
    notes = schema.advisories
    for row in connection.execute(
        sa.select(notes).where(notes.c.job_id.in_(of_run)).order_by(notes.c.seq)
    ):
        with _of(f"job {row.job_id}, its advisory {row.seq}"):
            advised[row.job_id].append(Advisory(AdvisoryKind(row.kind), row.evidence))
    query = sa.select(schema.jobs).where(chosen)
    return [
        _job(row, measured[row.id], tuple(advised[row.id]))
        for row in connection.execute(query.order_by(schema.jobs.c.idx))
    ]


def _job(
    row: sa.Row[Any], measured: Mapping[str, Measurement], advised: tuple[Advisory, ...]
) -> JobRecord:
    with _of(f"job {row.id} ({row.model}/{row.recipe} on {row.device}) of run {row.run_id}"):
        return JobRecord(
            id=row.id,
            run=row.run_id,
            job=Job(
                row.idx,
                row.model,
                row.recipe,
                row.device,
                DeviceKind(row.kind),
                Backend.parse(row.backend),
            ),
            status=JobStatus(row.status),
            stage=Stage(row.stage),
            error=row.error,
            variant_sha256=row.variant_sha256,
            size_bytes=_number(row.size_bytes, "size_bytes"),
            manifest=_object(row.manifest, "manifest"),
            runtime=row.runtime,
            runtime_version=row.runtime_version,
            facts=_object(row.facts, "facts"),
            sealed_at=row.sealed_at,
            measurements=measured,
            advisories=advised,
        )


def trials(
    connection: Connection, job_id: int, *, with_samples: bool, index: int | None = None
) -> list[TrialRecord]:
    """The trials of a job in the order in which they began; only those of an ``index``."""
    query = sa.select(schema.trials).where(schema.trials.c.job_id == job_id)
    if index is not None:
        query = query.where(schema.trials.c.idx == index)
    rows = connection.execute(query.order_by(schema.trials.c.id)).all()
    phases: dict[int, dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]] = {}
    if with_samples:
        phases = _samples(connection, job_id, [row.id for row in rows])
    return [_trial(row, phases.get(row.id, {})) for row in rows]


def open_trials(connection: Connection, run_id: str) -> dict[int, list[TrialRecord]]:
    """The trials of each unsealed job of a run that has any; see ``Store.open_trials``."""
    query = (
        sa.select(schema.trials)
        .join(schema.jobs)
        .where(schema.jobs.c.run_id == run_id, schema.jobs.c.sealed_at.is_(None))
        .order_by(schema.trials.c.id)
    )
    found: dict[int, list[TrialRecord]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.job_id].append(_trial(row, {}))
    return dict(found)


def _trial(
    row: sa.Row[Any], phases: dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]
) -> TrialRecord:
    with _of(f"trial {row.id} of job {row.job_id}"):
        return TrialRecord(
            row.id,
            row.job_id,
            row.idx,
            row.purpose,
            TrialStatus(row.status),
            row.started,
            row.error,
            _object(row.hello, "hello"),
            _object(row.facts, "facts"),
            phases,
        )


def facts_of(connection: Connection, run_id: str, purpose: str) -> dict[int, Mapping[str, Any]]:
    """What the newest finished trial of this purpose tells, by job; see ``Store.facts_of``."""
    query = (
        sa.select(schema.trials.c.job_id, schema.trials.c.facts)
        .join(schema.jobs)
        .where(
            schema.jobs.c.run_id == run_id,
            schema.trials.c.purpose == purpose,
            schema.trials.c.status == TrialStatus.OK.value,
        )
        .order_by(schema.trials.c.id)
    )
    found = {}
    for row in connection.execute(query):
        with _of(f"a trial ({purpose}) of job {row.job_id}"):
            found[row.job_id] = _object(row.facts, "facts")
    return found


def _samples(
    connection: Connection, job_id: int, trial_ids: list[int]
) -> dict[int, dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]]:
    parts: dict[int, dict[str, list[tuple[NDArray[np.int64], NDArray[np.int64]]]]] = {
        trial_id: defaultdict(list) for trial_id in trial_ids
    }
    table = schema.samples
    for begin in range(0, len(trial_ids), _AT_ONCE):
        query = (
            sa.select(table.c.trial_id, table.c.phase, table.c.data)
            .where(table.c.trial_id.in_(trial_ids[begin : begin + _AT_ONCE]))
            .order_by(table.c.trial_id, table.c.seq)
        )
        for trial_id, phase, data in connection.execute(query):
            try:
                parts[trial_id][phase].append(decode_samples(data))
            except StoreError as error:
                raise StoreError(f"trial {trial_id} of job {job_id}: {error}") from None
    return {
        trial_id: {
            phase: (
                np.concatenate([p[0] for p in found]),
                np.concatenate([p[1] for p in found]),
            )
            for phase, found in of_trial.items()
        }
        for trial_id, of_trial in parts.items()
    }


def artifacts(connection: Connection, job_id: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Arrays kept with a job, those that are there, in the order of ``names``."""
    table = schema.artifacts
    query = sa.select(table).where(table.c.job_id == job_id, table.c.name.in_(list(names)))
    rows = {row.name: row for row in connection.execute(query)}
    return {name: _array(rows[name], job_id) for name in names if name in rows}


def _array(row: sa.Row[Any], job_id: int) -> NDArray[Any]:
    try:
        if not isinstance(row.shape, list):  # reshape takes None for "as it is"
            raise ValueError("its shape cannot be read")
        return np.frombuffer(row.data, dtype=np.dtype(row.dtype)).reshape(row.shape)
    except (TypeError, ValueError) as error:
        raise StoreError(f"damaged artifact {row.name} of job {job_id}: {error}") from None
