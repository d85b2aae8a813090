"""Writing a run as it happens, and reading it back."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.engine import Connection, make_url

from harness.domain import (
    Fence,
    Job,
    JobStatus,
    Stage,
    TrialStatus,
)
from harness.errors import StoreError
from harness.store import baselines, reading, schema, writing
from harness.store.codec import encode_samples
from harness.store.database import open_engine, translated
from harness.store.fences import pass_fence
from harness.store.records import BaselineRecord, JobRecord, RunRecord, TrialRecord, now

#: Where results go unless told otherwise: under the working folder.
DEFAULT_STORE = "sqlite:///results/harness.db"


class Store:
    """Runs, jobs, trials, samples and measurements in one database.

    Safe to share between threads: one writer at a time, each call one transaction.
    A sealed job never changes: every write to it raises ``SealedError``.
    """

    def __init__(self, url: str = DEFAULT_STORE, *, create: bool = True) -> None:
        self.url = url
        self._engine = open_engine(url, create=create)
        self.location = make_url(url).render_as_string(hide_password=True)
        self._lock = threading.RLock()
        # A result in a notebook keeps its store; its connections end with it, not before.
        self._finalizer = weakref.finalize(self, self._engine.dispose)

    def close(self) -> None:
        """Give the connections back."""
        self._finalizer()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._lock, translated(self.location), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with translated(self.location), self._engine.connect() as connection:
            yield connection

    # -- writing ---------------------------------------------------------------------------

    def create_run(
        self,
        run_id: str,
        suite: Mapping[str, Any],
        environment: Mapping[str, Any],
        jobs: Sequence[Job],
    ) -> None:
        """Write a run with all its jobs pending, in one transaction."""
        with self._write() as connection:
            connection.execute(
                sa.insert(schema.runs).values(
                    id=run_id,
                    suite_name=suite["name"],
                    created=now(),
                    status="running",
                    suite=dict(suite),
                    environment=dict(environment),
                )
            )
            if jobs:
                connection.execute(
                    sa.insert(schema.jobs),
                    [
                        {
                            "run_id": run_id,
                            "idx": job.index,
                            "model": job.model,
                            "recipe": job.recipe,
                            "device": job.device,
                            "kind": job.kind.value,
                            "backend": str(job.backend),
                            "threads": job.backend.threads,
                            "status": JobStatus.PENDING.value,
                            "stage": Stage.PLAN.value,
                            "manifest": {},
                            "facts": {},
                        }
                        for job in jobs
                    ],
                )

    def finish_run(self, run_id: str, status: str) -> None:
        """Note how a run ended: ``finished`` or ``interrupted`` (it may be resumed)."""
        with self._write() as connection:
            connection.execute(
                sa.update(schema.runs)
                .where(schema.runs.c.id == run_id)
                .values(status=status, finished=now())
            )

    def note_variant(
        self, job_id: int, variant_sha256: str, size_bytes: int, facts: Mapping[str, Any]
    ) -> None:
        """Note what an unsealed job is measured with, so that a resume can tell a change."""
        with self._write() as connection:
            writing.refuse_sealed(connection, [job_id])
            connection.execute(
                sa.update(schema.jobs)
                .where(schema.jobs.c.id == job_id)
                .values(variant_sha256=variant_sha256, size_bytes=size_bytes, facts=dict(facts))
            )

    def note_variants(self, noted: Sequence[tuple[int, str, int, Mapping[str, Any]]]) -> None:
        """``note_variant`` of many jobs in one transaction: id, sha256, bytes, facts of each."""
        jobs = schema.jobs
        statement = (
            sa.update(jobs)
            .where(jobs.c.id == sa.bindparam("job"), jobs.c.sealed_at.is_(None))
            .values(
                variant_sha256=sa.bindparam("sha256"),
                size_bytes=sa.bindparam("size"),
                facts=sa.bindparam("noted"),
            )
        )
        values = [
            {"job": job, "sha256": sha256, "size": size, "noted": dict(facts)}
            for job, sha256, size, facts in noted
        ]
        if values:
            with self._write() as connection:
                connection.execute(statement, values)

    def claim(self, fence: Fence) -> None:
        """Note that this session has its device now; ``LeaseLostError`` if a newer one has."""
        with self._write() as connection:
            pass_fence(connection, fence)

    def begin_trial(self, job_id: int, index: int, purpose: str) -> int:
        """A new trial of an unsealed job; returns its id."""
        with self._write() as connection:
            writing.refuse_sealed(connection, [job_id])
            result = connection.execute(
                sa.insert(schema.trials).values(
                    job_id=job_id,
                    idx=index,
                    purpose=purpose,
                    status=TrialStatus.RUNNING.value,
                    started=now(),
                    hello={},
                    facts={},
                )
            )
            (trial_id,) = result.inserted_primary_key or (0,)
            return int(trial_id)

    def append_samples(
        self,
        trial_id: int,
        seq: int,
        phase: str,
        at: NDArray[np.int64],
        values: NDArray[np.int64],
    ) -> None:
        """Keep raw samples as they arrive: start times and values in ns, both (n,)."""
        with self._write() as connection:
            writing.refuse_sealed(connection, [self._job_of(connection, trial_id)])
            connection.execute(
                sa.insert(schema.samples).values(
                    trial_id=trial_id,
                    seq=seq,
                    phase=phase,
                    n=len(values),
                    data=encode_samples(at, values),
                )
            )

    def end_trial(
        self,
        trial_id: int,
        status: TrialStatus,
        *,
        hello: Mapping[str, Any] | None = None,
        facts: Mapping[str, Any] | None = None,
        error: str | None = None,
        artifacts: Mapping[str, NDArray[Any]] | None = None,
        fence: Fence | None = None,
    ) -> None:
        """Close a trial; ``artifacts`` are arrays that belong to its job (predictions).

        ``fence`` says by which session; one that another has followed may not write
        (``LeaseLostError``).
        """
        with self._write() as connection:
            if fence is not None:
                pass_fence(connection, fence)
            job_id = self._job_of(connection, trial_id)
            writing.refuse_sealed(connection, [job_id])
            connection.execute(
                sa.update(schema.trials)
                .where(schema.trials.c.id == trial_id)
                .values(
                    status=status.value,
                    hello=dict(hello or {}),
                    facts=dict(facts or {}),
                    error=error,
                )
            )
            writing.put_artifacts(connection, [(job_id, artifacts or {})])

    def seal_job(self, sealed: writing.Conclusion) -> None:
        """Write a job's conclusion, once and for all, in one transaction."""
        self.write([], [sealed])

    def write(
        self, rows: Sequence[writing.Rows], sealed: Sequence[writing.Conclusion] = ()
    ) -> list[list[int]]:
        """Trials and conclusions of jobs in one transaction; the ids of each job's trials.

        Raises ``SealedError`` where a job is sealed, and writes nothing then.
        """
        with self._write() as connection:
            jobs = {item.job_id for item in rows} | {item.job_id for item in sealed}
            writing.refuse_sealed(connection, jobs)
            ids = writing.put_rows(connection, rows)
            writing.seal(connection, sealed)
        return ids

    def withdraw_trials(self, job_id: int, why: str) -> None:
        """Make the trials of an unsealed job count no longer, ``why`` says as failed ones do."""
        with self._write() as connection:
            writing.refuse_sealed(connection, [job_id])
            writing.withdraw(connection, job_id, why)

    def set_baseline(self, name: str, run: str) -> RunRecord:
        """Give the run that ``run`` names the name ``name``, in place of another one.

        Raises ``StoreError`` for a name that cannot be one and a run that is not there.
        """
        baselines.refuse_name(name)
        found = self.find_run(run)
        with self._write() as connection:
            baselines.put(connection, name, found.id, now())
        return found

    def clear_baseline(self, name: str) -> None:
        """Forget a baseline's name, not its run; raises ``StoreError`` where there is none."""
        with self._write() as connection:
            if baselines.drop(connection, name):
                return
        known = ", ".join(item.name for item in self.baselines()) or "none yet"
        raise StoreError(f"there is no baseline {name!r}", hint=f"baselines: {known}")

    def discard_unfinished(self, run_id: str) -> int:
        """Before a resume: drop what trials that never ended had sent; returns their number."""
        unfinished = (
            sa.select(schema.trials.c.id)
            .join(schema.jobs)
            .where(
                schema.jobs.c.run_id == run_id,
                schema.jobs.c.sealed_at.is_(None),
                schema.trials.c.status == TrialStatus.RUNNING.value,
            )
        )
        with self._write() as connection:
            ids = list(connection.execute(unfinished).scalars())
            if ids:
                connection.execute(
                    sa.delete(schema.samples).where(schema.samples.c.trial_id.in_(ids))
                )
                connection.execute(sa.delete(schema.trials).where(schema.trials.c.id.in_(ids)))
            connection.execute(
                sa.update(schema.runs)
                .where(schema.runs.c.id == run_id)
                .values(status="running", finished=None)
            )
        return len(ids)

    @staticmethod
    def _job_of(connection: Connection, trial_id: int) -> int:
        return int(
            connection.execute(
                sa.select(schema.trials.c.job_id).where(schema.trials.c.id == trial_id)
            ).scalar_one()
        )

    # -- reading ---------------------------------------------------------------------------

    def runs(self) -> list[RunRecord]:
        """Every run, newest first."""
        with self._read() as connection:
            return reading.runs(connection)

    def find_run(self, name: str) -> RunRecord:
        """The run of this id, of a baseline's name, an unambiguous beginning of one, or ``last``.

        Raises ``StoreError`` naming what there is, and for a baseline whose run has gone.
        """
        return reading.find(self.runs(), self.baselines(), name, self.location)

    def baselines(self) -> list[BaselineRecord]:
        """Every baseline by name."""
        with self._read() as connection:
            return baselines.listed(connection)

    def counts(self, run_id: str) -> dict[str, int]:
        """The number of a run's jobs by status."""
        column = schema.jobs.c.status
        query = (
            sa.select(column, sa.func.count())
            .where(schema.jobs.c.run_id == run_id)
            .group_by(column)
            .order_by(column)
        )
        with self._read() as connection:
            return {status: int(count) for status, count in connection.execute(query)}

    def jobs(self, run_id: str) -> list[JobRecord]:
        """Every job of a run in the order of the plan, with measurements and advisories."""
        with self._read() as connection:
            return reading.jobs(connection, run_id)

    def jobs_on(self, device: str) -> list[JobRecord]:
        """Every job planned for a device or moved to it, of all runs; the oldest run first."""
        with self._read() as connection:
            return reading.jobs_on(connection, device)

    def trials(
        self, job_id: int, *, with_samples: bool = False, index: int | None = None
    ) -> list[TrialRecord]:
        """The trials of a job in the order in which they began; only those of an ``index``."""
        with self._read() as connection:
            return reading.trials(connection, job_id, with_samples=with_samples, index=index)

    def open_trials(self, run_id: str) -> dict[int, list[TrialRecord]]:
        """The trials of every job of a run that is not sealed, by its id, without samples."""
        with self._read() as connection:
            return reading.open_trials(connection, run_id)

    def facts_of(self, run_id: str, purpose: str) -> dict[int, Mapping[str, Any]]:
        """The facts of each job's newest finished trial of a purpose, by the job's id.

        ``operators``: the profile of its operators under the same name, see
        ``metrics.profile.Profile.from_json``, or ``unsupported``, why there is none.
        """
        with self._read() as connection:
            return reading.facts_of(connection, run_id, purpose)

    def artifacts(self, job_id: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """The arrays of these names that are kept with a job, in the order of ``names``."""
        with self._read() as connection:
            return reading.artifacts(connection, job_id, names)

    def artifact(self, job_id: int, name: str) -> NDArray[Any] | None:
        """An array kept with a job, or ``None``."""
        with self._read() as connection:
            return reading.artifacts(connection, job_id, [name]).get(name)
