"""What a comparison rests on: the raw observations of one job, read from the store."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.domain import Stage, TrialStatus
from harness.store import JobRecord, Store, TrialRecord

MS = 1e-6  # ns -> ms

#: Of fewer samples the smallest difference says nothing of a clock.
_MANY = 100


@dataclass(frozen=True, slots=True)
class Evidence:
    """One job: ``medians`` (trials,) in ms, ``peaks`` (trials,) in bytes, and what is right.

    ``distinct`` counts the different samples of all trials, 0 where there are none; ``clock`` is
    the step of the device's clock and ``step`` the same or, where that is larger, the smallest
    difference between two of at least a hundred samples, both in ms.
    ``correct`` (samples,) tells which samples of the dataset were classified right.
    """

    record: JobRecord
    medians: NDArray[np.float64]
    peaks: NDArray[np.float64]
    distinct: int
    clock: float
    step: float
    correct: NDArray[np.bool_] | None


def evidence(store: Store, record: JobRecord) -> Evidence:
    """Read it; raises ``StoreError``."""
    trials = [
        trial
        for trial in store.trials(record.id, with_samples=True)
        if trial.status is TrialStatus.OK and trial.purpose == Stage.LATENCY.value
    ]
    medians, peaks, values = [], [], []
    count = 0
    for trial in trials:
        samples = trial.phases.get("measure", (None, np.empty(0)))[1]
        if (median := trial_median(trial)) is not None:
            medians.append(median)
        if len(samples):
            values.append(np.unique(samples))
            count += len(samples)
        if peak := (trial.facts.get("memory_peak_bytes") or {}).get("end"):
            peaks.append(float(peak))
    seen = np.unique(np.concatenate(values)) if values else np.empty(0)
    clock = record.facts.get("clock") or {}
    told = float(clock.get("resolution_ns") or 0) * MS
    steps = [told]
    if len(seen) > 1 and count >= _MANY:
        steps.append(float(np.diff(seen).min()) * MS)
    correct = store.artifact(record.id, "correct")
    return Evidence(
        record,
        np.array(medians),
        np.array(peaks),
        len(seen),
        told,
        max(steps),
        None if correct is None else correct.astype(bool),
    )


def trial_median(trial: TrialRecord) -> float | None:
    """The median in ms of a latency trial's samples, or what a runner without samples said."""
    samples = trial.phases.get("measure", (None, np.empty(0)))[1]
    if len(samples):
        return float(np.median(samples)) * MS
    summary = trial.facts.get("summary") or {}
    return None if summary.get("median") is None else float(summary["median"]) / 1000
