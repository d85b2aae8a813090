"""A number over many runs: its series, where its level changed, and why."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control

from harness.decide.attribution import Canary, Cause, attribute
from harness.decide.conditions import Conditions, conditions
from harness.decide.reference import place
from harness.domain import DeviceKind, Direction, JobStatus, Measurement
from harness.errors import UsageError
from harness.metrics import main_measurement
from harness.stats.changes import LEAST_VALUES, splits
from harness.store import JobRecord, RunRecord, Store

#: What has a history, and the measurement that tells it (accuracy: the task's own).
METRICS = {"latency": "latency_median", "accuracy": "", "size": "size", "memory": "memory_peak"}

#: Smaller changes of these are of no interest, however sure: shares of the value before.
LEAST_EFFECT = {"latency": 0.02, "memory": 0.02, "accuracy": 0.0, "size": 0.0}

#: The level of the tests, and of the share of false changes among all that are confirmed.
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Key:
    """What must be the same for numbers to be of one series."""

    suite: str
    model: str
    recipe: str
    device: str
    kind: str
    backend: str

    @property
    def label(self) -> str:
        """``model/recipe on device (backend)``."""
        return f"{self.model}/{self.recipe} on {self.device} ({self.backend})"


@dataclass(frozen=True, slots=True)
class Point:
    """One run's value, with its interval where it has one, and under what it was measured."""

    run: str
    created: str
    value: float
    low: float | None
    high: float | None
    under: Conditions


@dataclass(frozen=True, slots=True)
class Change:
    """A change between the points ``at - 1`` and ``at``.

    ``before`` and ``after`` are the medians of the segments on both sides, ``p`` the chance of
    it without any change, corrected for all series that were looked at (``None`` for what is
    exact). One that is not ``confirmed`` cannot be told from chance yet.
    """

    at: int
    before: float
    after: float
    p: float | None
    confirmed: bool
    causes: tuple[Cause, ...] = ()

    @property
    def effect(self) -> float | None:
        """The change as a share of the value before; ``None`` where that is 0."""
        return self.after / self.before - 1 if self.before else None


@dataclass(frozen=True, slots=True)
class Series:
    """The points of one cell, the oldest first, and the changes of its level.

    ``missing`` counts runs in which the cell has no such number.
    """

    key: Key
    metric: str
    unit: str
    better: Direction
    points: tuple[Point, ...]
    missing: int = 0
    canary: bool = False
    changes: tuple[Change, ...] = ()

    @property
    def enough(self) -> bool:
        """Whether there are points enough for a change to be confirmed."""
        return self.metric == "size" or len(self.points) >= LEAST_VALUES

    def segment(self, index: int) -> int:
        """Which level a point is on, from 1."""
        return 1 + sum(change.confirmed and change.at <= index for change in self.changes)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which series are looked at; empty texts mean any. ``last``: only the newest points (0: all).

    ``least_effect`` is a share of the value before, ``None`` the metric's own.
    """

    metric: str
    device: str
    model: str = ""
    recipe: str = ""
    backend: str = ""
    suite: str = ""
    last: int = 0
    least_effect: float | None = None

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise UsageError(
                f"there is no history of {self.metric!r}", hint="known: " + ", ".join(METRICS)
            )

    @property
    def least(self) -> float:
        """Changes smaller than this share are left out."""
        return LEAST_EFFECT[self.metric] if self.least_effect is None else self.least_effect


def history(store: Store, wanted: Wanted) -> list[Series]:
    """The series of a device, changes found, confirmed and attributed.

    Changes are corrected over all series together by Benjamini and Hochberg's method. Raises
    ``UsageError`` where nothing was ever measured that fits.
    """
    runs = {run.id: run for run in store.runs()}
    records = store.jobs_on(wanted.device)
    records = [item for item in records if place(item) == wanted.device]
    everything = _series(records, runs, wanted)
    chosen = [item for item in everything if _fits(item.key, wanted)]
    if not chosen:
        raise UsageError(
            f"no run in {store.location} has measured the {wanted.metric} that was asked for",
            hint=_known(store, records, wanted),
        )
    found = _confirmed(chosen, wanted)
    canaries = [item for item in everything if item.canary]
    return [_attributed(item, canaries, wanted.least) for item in found]


def _fits(key: Key, wanted: Wanted) -> bool:
    pairs = (
        (wanted.model, key.model),
        (wanted.recipe, key.recipe),
        (wanted.backend, key.backend),
        (wanted.suite, key.suite),
    )
    return all(not asked or asked == own for asked, own in pairs)


def _known(store: Store, records: Sequence[JobRecord], wanted: Wanted) -> str:
    if not records:
        devices = {place(job) for run in store.runs()[:20] for job in store.jobs(run.id)}
        names = ", ".join(sorted(devices)) or "none yet"
        return f"devices of the newest runs: {names}"
    if not any(_value(item, wanted.metric) for item in records):
        kinds = {item.job.kind for item in records}
        if kinds == {DeviceKind.EMULATED} and wanted.metric in ("latency", "memory"):
            return f"{wanted.device} is emulated: it has no {wanted.metric}"
        return f"no job on {wanted.device} has ended with this number"
    cells = dict.fromkeys(f"{i.job.model}/{i.job.recipe} ({i.job.backend})" for i in records)
    return f"on {wanted.device}: " + ", ".join(list(cells)[:12])


def _series(
    records: Iterable[JobRecord], runs: dict[str, RunRecord], wanted: Wanted
) -> list[Series]:
    by_key: dict[Key, list[JobRecord]] = {}
    for item in records:
        job = item.job
        suite = runs[item.run].suite_name
        key = Key(suite, job.model, job.recipe, place(item), job.kind.value, str(job.backend))
        by_key.setdefault(key, []).append(item)
    found = []
    for key, items in by_key.items():
        measured = [(item, value) for item in items if (value := _value(item, wanted.metric))]
        if not measured:
            continue
        newest = measured[-1][1]
        # Another metric of accuracy is another number, whatever the model is called.
        alike = [pair for pair in measured if pair[1].name == newest.name]
        points = tuple(_point(item, value, runs[item.run]) for item, value in alike)
        found.append(
            Series(
                key,
                wanted.metric,
                newest.unit,
                newest.better,
                points[-wanted.last :] if wanted.last else points,
                len(items) - len(alike),
                key.model in _canaries(runs[items[-1].run]),
            )
        )
    return found


def _value(record: JobRecord, metric: str) -> Measurement | None:
    if record.status is not JobStatus.OK:
        return None
    name = METRICS[metric]
    found = record.measurements.get(name) if name else main_measurement(record.measurements)
    return found if found is not None and math.isfinite(found.value) else None


def _point(record: JobRecord, value: Measurement, run: RunRecord) -> Point:
    low = None if value.name == "memory_peak" else value.low  # another trial's peak
    return Point(run.id, run.created, value.value, low, value.high, conditions(record, run))


def _canaries(run: RunRecord) -> set[str]:
    models: Any = run.suite.get("models") or ()
    return {str(model.get("name")) for model in models if model.get("canary")}


def _confirmed(series: Sequence[Series], wanted: Wanted) -> list[Series]:
    """With the changes that a test confirms, corrected over all of them."""
    if wanted.metric == "size":
        return [replace(item, changes=_exact(item)) for item in series]
    tested = [splits(_scale(item), level=LEVEL) if item.enough else [] for item in series]
    # A series without a candidate was looked at too.
    chances = [split.p for found in tested for split in found] + [1.0 for f in tested if not f]
    corrected = iter(false_discovery_control(chances))
    return [
        replace(item, changes=_changes(item, [(s.at, float(next(corrected))) for s in found],
                                       wanted.least))
        for item, found in zip(series, tested, strict=True)
    ]  # fmt: skip


def _scale(series: Series) -> list[float]:
    """What changes by a factor is looked at in logarithms."""
    values = [point.value for point in series.points]
    by_factor = series.metric in ("latency", "memory") and min(values) > 0
    return [math.log(value) for value in values] if by_factor else values


def _exact(series: Series) -> tuple[Change, ...]:
    values = [point.value for point in series.points]
    return tuple(
        Change(at, values[at - 1], values[at], None, True)
        for at in range(1, len(values))
        if values[at] != values[at - 1]
    )


def _changes(
    series: Series, found: Sequence[tuple[int, float]], least: float
) -> tuple[Change, ...]:
    values = np.array([point.value for point in series.points])
    ends = [0, *(at for at, p in found if p <= LEVEL), len(values)]
    changes = []
    for at, p in found:
        begin = max(end for end in ends if end < at)
        end = min(end for end in ends if end > at)
        before, after = float(np.median(values[begin:at])), float(np.median(values[at:end]))
        change = Change(at, before, after, p, p <= LEVEL)
        if change.effect is None or abs(change.effect) >= least:
            changes.append(change)
    return tuple(changes)


def _attributed(series: Series, canaries: Sequence[Series], least: float) -> Series:
    """With the causes of its confirmed changes."""
    # A file's size is no matter of the device that it is on.
    watching = not series.canary and series.metric != "size"
    canary = _canary_of(series, canaries) if watching else None
    conditions_ = [point.under for point in series.points]
    ends = [0, *(c.at for c in series.changes if c.confirmed), len(series.points)]
    changes = []
    for change in series.changes:
        if change.confirmed:
            begin = max(end for end in ends if end < change.at)
            end = min(end for end in ends if end > change.at)
            watched = None
            if canary is not None:
                segments = (series.points[begin : change.at], series.points[change.at : end])
                watched = _watched(canary, *segments, change, least)
            causes = attribute(conditions_, change.at, watched, itself=series.canary)
            change = replace(change, causes=causes)
        changes.append(change)
    return replace(series, changes=tuple(changes))


def _canary_of(series: Series, canaries: Sequence[Series]) -> Series | None:
    """The canary of the same suite that is most like a series."""
    own = series.key
    alike = [item for item in canaries if (item.key.suite, item.key.kind) == (own.suite, own.kind)]
    return min(
        alike,
        key=lambda item: (item.key.backend != own.backend, item.key.recipe != own.recipe),
        default=None,
    )


def _watched(
    canary: Series,
    before: Sequence[Point],
    after: Sequence[Point],
    change: Change,
    least: float,
) -> Canary:
    """What the canary did in the very runs of two segments."""
    values = {point.run: point for point in canary.points}
    sides = [[values[p.run] for p in side if p.run in values] for side in (before, after)]
    return Canary.over(
        f"{canary.key.model}/{canary.key.recipe}",
        [point.value for point in sides[0]],
        [point.value for point in sides[1]],
        changed={point.under.variant for side in sides for point in side},
        effect=change.effect,
        least=least,
    )
