"""Trials of simulated devices on their way to the store: many rows in one transaction.

A modelled trial takes a millisecond, and so would each of the transactions that a trial of a real
device gets. What has ended is kept here for at most ``SECONDS`` and ``BYTES``, then written at
once, with the conclusions of what was sealed meanwhile. So a process that is killed loses its
running trial, and of simulated devices what has ended within that time; a job that was told as
sealed is in the database (``once_written``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.domain import Fence, TrialStatus
from harness.errors import SealedError
from harness.store.records import TrialRecord, now
from harness.store.store import Store
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


@dataclass(slots=True)
class _Job:
    """What there is of a job that is not in the database yet; its trials by their ids here."""

    trials: dict[int, _Trial] = field(default_factory=dict)
    artifacts: dict[str, NDArray[Any]] = field(default_factory=dict)


class Batch:
    """What a lane asks of a ``Store``, for jobs of simulated devices.

    ``fresh`` are the jobs without a trial in the database so far. Of one thread, and to be
    flushed at its end: a context manager.
    """

    def __init__(self, store: Store, fresh: Collection[int]) -> None:
        self._store = store
        self._fresh = set(fresh)
        self._jobs: dict[int, _Job] = {}
        #: The job of each trial that began here and has not ended.
        self._running: dict[int, int] = {}
        #: The id in the database of each of them that is there already.
        self._real: dict[int, int] = {}
        #: Conclusions that are not written yet, and every job that has had one.
        self._sealed: dict[int, Conclusion] = {}
        self._closed: set[int] = set()
        self._waiting: list[Callable[[], None]] = []
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
        self._flush_if_due()
        self._refuse_sealed(job_id)
        self._last -= 1
        self._job(job_id).trials[self._last] = _Trial(
            TrialRecord(
                self._last, job_id, index, purpose, TrialStatus.RUNNING, now(), None, {}, {}
            )
        )
        self._running[self._last] = job_id
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
        job = self._jobs[self._running[trial_id]]
        job.trials[trial_id].chunks.append((seq, phase, at, values))
        self._bytes += at.nbytes + values.nbytes
        self._flush_if_due(running=True)

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
                self._real[trial_id], status, hello=hello, facts=facts, error=error,
                artifacts=artifacts, fence=fence,
            )  # fmt: skip
            del self._real[trial_id], self._running[trial_id]
            return
        job = self._jobs[self._running.pop(trial_id)]
        trial = job.trials[trial_id]
        old = trial.record
        trial.record = TrialRecord(
            old.id, old.job_id, old.index, old.purpose, status, old.started, error,
            dict(hello or {}), dict(facts or {}), phases=_phases(trial),
        )  # fmt: skip
        job.artifacts |= artifacts or {}
        self._bytes += sum(array.nbytes for array in (artifacts or {}).values())
        self._note_waiting()

    def seal_job(self, sealed: Conclusion) -> None:
        """See ``Store``: the conclusion, and whatever is not written yet of the job."""
        self._refuse_sealed(sealed.job_id)
        self._sealed[sealed.job_id] = sealed
        self._closed.add(sealed.job_id)
        self._bytes += sum(array.nbytes for array in sealed.artifacts.values())
        self._note_waiting()

    def once_written(self, call: Callable[[], None]) -> None:
        """Call as soon as all that was sealed so far is in the database; in the order given."""
        if self._sealed:
            self._waiting.append(call)
        else:
            call()

    def flush(self, *, running: bool = False) -> None:
        """Write what has ended, and with ``running`` what has not; raises ``StoreError``."""
        rows = [
            self._take(job_id, running=running or job_id in self._sealed) for job_id in self._jobs
        ]
        rows = [item for item in rows if item.trials or item.artifacts]
        sealed, self._sealed = list(self._sealed.values()), {}
        self._bytes, self._oldest = self._bytes_left(), None
        if not rows and not sealed:
            return
        try:
            ids = self._store.write(rows, sealed)
        except BaseException:
            self._waiting.clear()  # what was not written is not told
            raise
        for item, written in zip(rows, ids, strict=True):
            self._fresh.discard(item.job_id)
            for record, real in zip(item.trials, written, strict=True):
                if record.status is TrialStatus.RUNNING:
                    self._real[record.id] = real
        self._jobs = {job_id: job for job_id, job in self._jobs.items() if job.trials}
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    def _note_waiting(self) -> None:
        """Something has ended, and should not wait for long."""
        if self._oldest is None:
            self._oldest = time.monotonic()
        self._flush_if_due()

    def _flush_if_due(self, *, running: bool = False) -> None:
        if self._bytes > BYTES:
            self.flush(running=running)
        elif self._oldest is not None and time.monotonic() - self._oldest > SECONDS:
            self.flush()

    def _refuse_sealed(self, job_id: int) -> None:
        if job_id in self._closed:
            raise SealedError(f"job {job_id} is sealed")

    def _job(self, job_id: int) -> _Job:
        return self._jobs.setdefault(job_id, _Job())

    def _take(self, job_id: int, *, running: bool) -> Rows:
        """What there is of a job, which is then no longer here."""
        job = self._jobs[job_id]
        chosen = [
            job.trials.pop(number)
            for number, trial in list(job.trials.items())
            if running or trial.record.status is not TrialStatus.RUNNING
        ]
        artifacts, job.artifacts = job.artifacts, {}
        return Rows(
            job_id,
            [trial.record for trial in chosen],
            [trial.chunks for trial in chosen],
            artifacts,
        )

    def _bytes_left(self) -> int:
        """Of what is running."""
        return sum(
            at.nbytes + values.nbytes
            for job in self._jobs.values()
            for trial in job.trials.values()
            for _, _, at, values in trial.chunks
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
            for trial in self._job(job_id).trials.values()
            if index in (None, trial.record.index)
        ]

    def artifacts(self, job_id: int, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """See ``Store``."""
        stored = {} if job_id in self._fresh else self._store.artifacts(job_id, names)
        here = self._jobs[job_id].artifacts if job_id in self._jobs else {}
        found = {name: here.get(name, stored.get(name)) for name in names}
        return {name: array for name, array in found.items() if array is not None}


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
