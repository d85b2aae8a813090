"""When a job has been measured enough: the stop rule over its trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.domain import DeviceKind, Policy, Stage, TrialStatus
from harness.metrics.observations import TrialObservation
from harness.metrics.precision import half_width
from harness.store import JobStore, TrialRecord


@dataclass(frozen=True, slots=True)
class Enough:
    """How far a job's latency trials have come.

    ``by`` is what ended them: ``precision``, the bounds ``max_trials`` and ``max_job_seconds``,
    or ``trials`` where just so many were asked for (or nothing can be told of precision); of a
    comparison in turns what ended that, see ``decide.ab.Contest``; empty where the job gets a
    further trial. ``half_width`` is the relative one of the median's
    interval, where it was looked at.
    """

    by: str
    trials: int
    seconds: float
    half_width: float | None = None

    def as_facts(self) -> dict[str, Any]:
        """For the job's record; an infinite width is told as ``null``."""
        width = self.half_width
        return {
            "by": self.by,
            "trials": self.trials,
            "seconds": round(self.seconds, 3),
            "half_width": width if width is not None and math.isfinite(width) else None,
        }


def may_add(kind: DeviceKind, policy: Policy) -> bool:
    """Whether there are trials beyond ``trials``: not of what is no latency."""
    return policy.adapts and kind is not DeviceKind.EMULATED


def judged(store: JobStore, job_id: int, kind: DeviceKind, policy: Policy) -> Enough:
    """What a job's finished trials in the store say; see ``judge``."""
    records = store.trials(job_id, with_samples=may_add(kind, policy))
    return judge(policy, kind, records)


def judge(policy: Policy, kind: DeviceKind, records: Sequence[TrialRecord]) -> Enough:
    """Whether the job of these trials gets another one.

    The first ``trials`` are always measured. What an emulated device measures is no latency, so
    it gets no more. The time of a trial is its fact ``trial_seconds``; a further trial is taken
    to last as long as the ones before on average. The answer hangs on the records alone: a run
    that was resumed decides as one that was not.
    """
    ended = [
        record
        for record in records
        if record.purpose == Stage.LATENCY.value and record.status is TrialStatus.OK
    ]
    count = len(ended)
    seconds = sum(_seconds(record) for record in ended)
    if count < policy.trials:
        return Enough("", count, seconds)
    if not may_add(kind, policy):
        return Enough("trials", count, seconds)
    observed = [
        TrialObservation(
            {name: values for name, (_, values) in record.phases.items()}, record.facts
        )
        for record in ended
    ]
    width = half_width(observed, policy.seed)
    if width is None and count > 1:
        return Enough("trials", count, seconds)
    if width is not None and width <= policy.precision:
        by = "precision"
    elif count >= policy.max_trials:
        by = "max_trials"
    elif count and seconds * (count + 1) / count > policy.max_job_seconds:
        by = "max_job_seconds"
    else:
        by = ""
    return Enough(by, count, seconds, width)


def _seconds(record: TrialRecord) -> float:
    value = record.facts.get("trial_seconds")
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0
