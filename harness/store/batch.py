"""Trials of a simulated device on their way to the store: many rows in one transaction.

A modelled trial takes a millisecond, and so would each of the transactions that a trial of a real
device gets. What has ended is kept here for at most ``SECONDS`` and ``BYTES``, then written at
once; a job's seal writes all that there is of it in the same transaction. So a process that is
killed loses its running trial, and of simulated devices what has ended within that time; a
job that was told as sealed is in the database.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.domain import Advisory, Fence, JobStatus, Measurement, Stage, TrialStatus
from harness.store.records import TrialRecord
from harness.store.store import Store, now
from harness.store.writing import Conclusion, Rows

#: The longest that a trial waits for its transaction, and the most that waits with it.
SECONDS = 1.0
BYTES = 8 * 1024 * 1024


@dataclass(slots=True)
class _Trial:
    """A trial that is not in the database yet."""

    record: TrialRecord
    chunks: list[tuple[int, str, NDArray[np.int64], NDArray[np.int64]]] = field(
        default_factory=list
    )


class Batch:
    """What a lane asks of a ``Store``, for the jobs of one simulated device.

    ``fresh`` are the jobs without a trial in the database so far. Of one thread, and to be
    flushed at its end: a context manager.
    """

    def __init__(self, store: Store, fresh: Collection[int]) -> None:
        self._store = store
        self._fresh = set(fresh)
        self._trials: dict[int, _Trial] = {}
        self._artifacts: dict[tuple[int, str], NDArray[Any]] = {}
        self._real: dict[int, int] = {}
        self._bytes = 0
        self._oldest: float | None = None
        self._last = 0

    def __enter__(self) -> Batch:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.flush()

    # -- writing, see ``Store`` ----------------------------------------------------------------

    def claim(self, fence: Fence) -> None:
        """See ``Store``."""
        self._store.claim(fence)

    def begin_trial(self, job_id: int, index: int, purpose: str) -> int:
        """See ``Store``; the id is good for this object alone."""
        self._last -= 1
        self._trials[self._last] = _Trial(
            TrialRecord(
                self._last, job_id, index, purpose, TrialStatus.RUNNING, now(), None, {}, {}
            )
        )
        return self._last

    def append_samples(
        self,
        trial_id: int,
        seq: int,
        phase: str,
        at: NDArray[np.int64],
        values: NDArray[np.int64],
    ) -> None:
        """See ``Store``."""
        if trial_id in self._real:
            self._store.append_samples(self._real[trial_id], seq, phase, at, values)
            return
        self._trials[trial_id].chunks.append((seq, phase, at, values))
        self._bytes += at.nbytes + values.nbytes
        if self._bytes > BYTES:
            self.flush(running=True)

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
        """See ``Store``."""
        if fence is not None and trial_id not in self._real:
            self.flush(running=True)  # who may write is for the database to say
        if trial_id in self._real:
            self._store.end_trial(
                self._real.pop(trial_id), status, hello=hello, facts=facts, error=error,
                artifacts=artifacts, fence=fence,
            )  # fmt: skip
            return
        trial = self._trials[trial_id]
        old = trial.record
        trial.record = TrialRecord(
            old.id, old.job_id, old.index, old.purpose, status, old.started, error,
            dict(hello or {}), dict(facts or {}), phases=_phases(trial),
        )  # fmt: skip
        for name, array in (artifacts or {}).items():
            self._artifacts[old.job_id, name] = array
            self._bytes += array.nbytes
        if self._oldest is None:
            self._oldest = time.monotonic()
        if self._bytes > BYTES or time.monotonic() - self._oldest > SECONDS:
            self.flush()

    def seal_job(
        self,
        job_id: int,
        status: JobStatus,
        stage: Stage,
        *,
        error: str | None = None,
        variant_sha256: str | None = None,
        size_bytes: int | None = None,
        manifest: Mapping[str, Any] | None = None,
        runtime: str | None = None,
        runtime_version: str | None = None,
        facts: Mapping[str, Any] | None = None,
        measurements: Sequence[Measurement] = (),
        advisories: Sequence[Advisory] = (),
        artifacts: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """See ``Store``: the conclusion and whatever is not written yet of the job."""
        rows = self._take(job_id, running=True)
        self._store.write(
            rows,
            Conclusion(
                job_id, status, stage, error, variant_sha256, size_bytes, manifest, runtime,
                runtime_version, facts, measurements, advisories, artifacts or {},
            ),
        )  # fmt: skip
        self._fresh.discard(job_id)

    def flush(self, *, running: bool = False) -> None:
        """Write what has ended, and with ``running`` what has not; raises ``StoreError``."""
        for job_id in {trial.record.job_id for trial in self._trials.values()}:
            rows = self._take(job_id, running=running)
            ids = self._store.write(rows)
            self._fresh.discard(job_id)
            for record, real in zip(rows.trials, ids, strict=True):
                if record.status is TrialStatus.RUNNING:
                    self._real[record.id] = real
        self._oldest = None

    def _take(self, job_id: int, *, running: bool) -> Rows:
        """What there is of a job, which is then no longer here."""
        chosen = [
            trial
            for trial in self._trials.values()
            if trial.record.job_id == job_id
            and (running or trial.record.status is not TrialStatus.RUNNING)
        ]
        names = [key for key in self._artifacts if key[0] == job_id]
        artifacts = {name: self._artifacts.pop((job_id, name)) for _, name in names}
        for trial in chosen:
            del self._trials[trial.record.id]
            self._bytes -= sum(at.nbytes + values.nbytes for _, _, at, values in trial.chunks)
        self._bytes -= sum(array.nbytes for array in artifacts.values())
        return Rows(
            job_id,
            [trial.record for trial in chosen],
            [trial.chunks for trial in chosen],
            artifacts,
        )

    # -- reading, see ``Store`` ----------------------------------------------------------------

    def trials(
        self, job_id: int, *, with_samples: bool = False, index: int | None = None
    ) -> list[TrialRecord]:
        """See ``Store``."""
        if job_id not in self._fresh:
            self.flush(running=True)
            return self._store.trials(job_id, with_samples=with_samples, index=index)
        return [
            trial.record
            for trial in self._trials.values()
            if trial.record.job_id == job_id and index in (None, trial.record.index)
        ]

    def artifacts(self, job_id: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """See ``Store``."""
        stored = {} if job_id in self._fresh else self._store.artifacts(job_id, names)
        here = {name: self._artifacts.get((job_id, name), stored.get(name)) for name in names}
        return {name: array for name, array in here.items() if array is not None}


def _phases(trial: _Trial) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The samples by phase, as the database would give them back."""
    found: dict[str, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {}
    for _, phase, at, values in trial.chunks:
        found.setdefault(phase, []).append((at, values))
    return {
        phase: (np.concatenate([at for at, _ in parts]), np.concatenate([v for _, v in parts]))
        for phase, parts in found.items()
    }


#: Where a lane writes.
JobStore = Store | Batch
