"""Variants that were tried, and which of them to take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from numpy.typing import NDArray

from harness.domain import JobStatus, Policy, Stage, TrialStatus
from harness.metrics import METRICS, Observations
from harness.store import JobRecord, Store

#: What may be minimized, and the measurement that tells it.
GOALS = {"latency": "latency_median", "size": "size", "memory": "memory_peak"}

#: Where a failure is the device's, whatever the variant.
_DEVICE = {Stage.CONNECT, Stage.PUSH, Stage.START}


@dataclass(frozen=True, slots=True)
class Candidate:
    """One variant on one device: ``accuracy`` and ``drop`` as shares, ``value`` of the goal.

    ``within`` tells whether it keeps the bound, ``frontier`` whether no other candidate of the
    device is at least as good in both and better in one. ``error`` says why there are no
    numbers. A ``pending`` one is not done: ``trials`` of it are, and of those it may have an
    accuracy already.
    """

    recipe: str
    device: str
    kind: str
    run: str
    accuracy: float | None = None
    accuracy_low: float | None = None
    accuracy_high: float | None = None
    drop: float | None = None
    value: float | None = None
    value_low: float | None = None
    value_high: float | None = None
    unit: str = ""
    size_bytes: int | None = None
    variant_sha256: str | None = None
    within: bool = False
    frontier: bool = False
    error: str = ""
    pending: bool = False
    trials: int | None = None


def unfinished(
    store: Store, record: JobRecord, policy: Policy, labels: Callable[[], NDArray[Any]]
) -> Candidate:
    """What the store holds of a job that is not sealed yet."""
    job = record.job
    base = Candidate(job.recipe, job.device, job.kind.value, record.run, pending=True)
    done = sum(trial.status is TrialStatus.OK for trial in store.trials(record.id))
    base = replace(base, trials=done, error="" if done else "not measured yet")
    predictions = store.artifact(record.id, "predictions")
    if predictions is None:
        return base
    (top1,) = METRICS["top1"](
        Observations(policy, record.size_bytes or 0, predictions=predictions, labels=labels())
    )
    return replace(
        base,
        accuracy=top1.value,
        accuracy_low=top1.low,
        accuracy_high=top1.high,
        size_bytes=record.size_bytes,
        variant_sha256=record.variant_sha256,
    )


def candidate(record: JobRecord, goal: str) -> Candidate:
    """What a sealed job's record says of its variant."""
    job = record.job
    base = Candidate(job.recipe, job.device, job.kind.value, record.run)
    if record.status is not JobStatus.OK:
        return replace(base, error=record.error or record.status.value)
    accuracy = record.measurements.get("top1")
    value = record.measurements.get(GOALS[goal])
    found = replace(base, size_bytes=record.size_bytes, variant_sha256=record.variant_sha256)
    if accuracy is not None:
        found = replace(
            found,
            accuracy=accuracy.value,
            accuracy_low=accuracy.low,
            accuracy_high=accuracy.high,
        )
    if value is not None:
        found = replace(
            found, value=value.value, value_low=value.low, value_high=value.high, unit=value.unit
        )
    return found


def may_pass(record: JobRecord) -> bool:
    """Whether a job failed of what may be otherwise the next time: the device or its link."""
    failed = record.status is JobStatus.FAILED
    return failed and (record.stage in _DEVICE or bool(record.facts.get("transient")))


def references(tried: Sequence[Candidate], exact: str) -> dict[str, Candidate]:
    """For each device the candidate whose accuracy its others are compared with.

    Its own variant ``exact``; where it cannot run that, another device's, for the same file
    over the same samples gives the same accuracy.
    """
    measured = [item for item in tried if item.recipe == exact and item.accuracy is not None]
    found = {}
    for name, kind in dict.fromkeys((item.device, item.kind) for item in tried):
        if measured:
            found[name] = min(measured, key=partial(_distance, name, kind))
    return found


def _distance(device: str, kind: str, other: Candidate) -> tuple[bool, bool]:
    return other.device != device, other.kind != kind


def judged(tried: Sequence[Candidate], exact: str, bound: float) -> list[Candidate]:
    """With each one's drop against the recipe ``exact``, bound and frontier."""
    reference = references(tried, exact)
    found = []
    for item in tried:
        base = reference[item.device].accuracy if item.device in reference else None
        if item.accuracy is not None and base is not None:
            drop = base - item.accuracy
            # A bound of 0.5 points is kept by a drop of 0.5, whatever the binary fractions say.
            item = replace(item, drop=drop, within=drop <= bound + 1e-12)
        found.append(item)
    return [replace(item, frontier=_on_frontier(item, found)) for item in found]


def _on_frontier(item: Candidate, others: Sequence[Candidate]) -> bool:
    def costs(one: Candidate) -> tuple[float, float] | None:
        known = one.accuracy is not None and one.value is not None
        return (-(one.accuracy or 0.0), one.value or 0.0) if known else None

    of_device = [found for one in others if one.device == item.device and (found := costs(one))]
    own = costs(item)
    return own is not None and undominated(own, of_device)


def undominated(own: Sequence[float], others: Sequence[Sequence[float]]) -> bool:
    """Whether none of ``others`` is at most as much in every cost and less in one."""
    return not any(
        all(theirs <= mine for theirs, mine in zip(other, own, strict=True))
        and tuple(other) != tuple(own)
        for other in others
    )


def best_of(tried: Sequence[Candidate], device: str) -> Candidate | None:
    """The candidate that keeps the bound and has the least value; ``None`` where none does."""
    kept = [item for item in tried if item.device == device and item.within and item.value]
    return min(kept, key=lambda item: (item.value or 0.0, item.size_bytes or 0), default=None)
