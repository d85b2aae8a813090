"""Rows that are written in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from harness.domain import Advisory, Measurement, TrialStatus
from harness.store import schema


def put_artifact(connection: Connection, job_id: int, name: str, array: NDArray[Any]) -> None:
    """Keep an array with a job, in place of an older one of this name."""
    table = schema.artifacts
    connection.execute(sa.delete(table).where(table.c.job_id == job_id, table.c.name == name))
    connection.execute(
        sa.insert(table).values(
            job_id=job_id,
            name=name,
            dtype=array.dtype.str,
            shape=list(array.shape),
            data=np.ascontiguousarray(array).tobytes(),
        )
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
