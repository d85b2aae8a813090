"""The variant to take on each device: within bounds the least of a goal, and why no other one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.decide.candidates import GOALS, undominated
from harness.decide.gates import without_numbers
from harness.decide.reference import FLOAT, float_reference, place
from harness.domain import AdvisoryKind, DeviceKind, JobStatus, Measurement
from harness.errors import UsageError
from harness.metrics import main_measurement
from harness.store import JobRecord

#: What may be bounded from above, by the names of the gates; in ms, bytes and points.
BOUNDS = ("max_latency_ms", "max_size", "max_memory", "max_accuracy_drop")


@dataclass(frozen=True, slots=True)
class Difference:
    """Two variants in the goal: the second over the first, with its 95 % interval.

    ``shown`` is false where they cannot be told apart, and ``why`` says why not where that is
    more than chance.
    """

    shown: bool
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""


#: Compares the job that is least in a goal with others: is each of them really more?
Tell = Callable[[JobRecord, Sequence[JobRecord], str], list[Difference]]


@dataclass(frozen=True, slots=True)
class Option:
    """One variant on one backend of a device.

    ``drop`` is a share of accuracy against the float variant. ``lost`` says why it is not the
    one to take (empty for the best), ``outside`` the bounds that it does not keep.
    """

    record: JobRecord
    accuracy: Measurement | None = None
    drop: float | None = None
    latency: float | None = None
    latency_low: float | None = None
    latency_high: float | None = None
    size: int | None = None
    memory: float | None = None
    frontier: bool = False
    outside: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """``int8 (cpu x4)``."""
        return f"{self.record.job.recipe} ({self.record.job.backend})"

    def goal(self, goal: str) -> float | None:
        """The number that is to be small."""
        return {"latency": self.latency, "size": self.size, "memory": self.memory}[goal]


@dataclass(frozen=True, slots=True)
class Choice:
    """What to take for a model on a device: ``best`` or none, and all options, the best first.

    ``alike`` says of whom the best cannot be told apart, and what decided.
    """

    model: str
    device: str
    kind: str
    goal: str
    best: Option | None
    options: tuple[Option, ...]
    alike: tuple[str, ...] = ()


def recommend(
    records: Sequence[JobRecord], bounds: Mapping[str, float], goal: str, tell: Tell
) -> list[Choice]:
    """A choice for every model and device of a run.

    ``bounds`` by the names in ``BOUNDS``. Raises ``UsageError`` for an unknown goal.
    """
    if goal not in GOALS:
        raise UsageError(f"cannot minimize {goal!r}", hint="known: " + ", ".join(GOALS))
    groups: dict[tuple[str, str, DeviceKind], list[JobRecord]] = {}
    for record in records:
        key = (record.job.model, place(record), record.job.kind)
        groups.setdefault(key, []).append(record)
    return [
        _choice(model, device, kind, [_option(item, records, bounds) for item in group], goal, tell)
        for (model, device, kind), group in groups.items()
    ]


def _option(record: JobRecord, records: Sequence[JobRecord], bounds: Mapping[str, float]) -> Option:
    found = Option(record, size=record.size_bytes)
    if record.status is not JobStatus.OK:
        why = record.error if record.status is JobStatus.UNSUPPORTED else without_numbers(record)
        return replace(found, outside=(why or record.status.value,))
    accuracy = main_measurement(record.measurements)
    latency = record.measurements.get("latency_median")
    memory = record.measurements.get("memory_peak")
    base = float_reference(record, records)
    exact = main_measurement(base.measurements) if base is not None else None
    comparable = accuracy is not None and accuracy.unit in ("share", "area")
    if comparable and accuracy is not None and exact is not None and accuracy.name == exact.name:
        found = replace(found, drop=exact.value - accuracy.value)
    found = replace(
        found,
        accuracy=accuracy,
        latency=latency.value if latency else None,
        latency_low=latency.low if latency else None,
        latency_high=latency.high if latency else None,
        memory=memory.value if memory else None,
    )
    return replace(found, outside=tuple(_outside(found, bounds)))


def _outside(option: Option, bounds: Mapping[str, float]) -> Iterator[str]:
    """The bounds that an option does not keep; what is not known keeps none."""
    record = option.record
    if any(item.kind is AdvisoryKind.OUTPUTS_DIFFER for item in record.advisories):
        yield "its outputs differ from the host's: no number of it can be trusted"
    emulated = record.job.kind is DeviceKind.EMULATED
    for name, value, unit, unknown in (
        ("max_latency_ms", option.latency, "ms", "latency"),
        ("max_size", option.size, "bytes", "size"),
        ("max_memory", option.memory, "bytes", "memory"),
    ):
        if name not in bounds:
            continue
        if value is None:
            yield f"an emulated device has no {unknown}" if emulated else f"{unknown} is not known"
        elif value > bounds[name] * (1 + 1e-12):
            yield f"{amount(value, unit)}, over {amount(bounds[name], unit)}"
    if "max_accuracy_drop" in bounds:
        if option.drop is None:
            yield _no_drop(option)
        elif option.drop > bounds["max_accuracy_drop"] / 100 + 1e-12:
            yield f"{option.drop * 100:.2f} points below {FLOAT}"


def _no_drop(option: Option) -> str:
    if option.accuracy is None:
        return "its accuracy is not known"
    if option.accuracy.unit not in ("share", "area"):
        return f"{option.accuracy.name} is no share: points of it mean nothing"
    return f"there is no {FLOAT} with an accuracy to compare with"


def amount(value: float, unit: str) -> str:
    """A number with its unit, as short as it is clear."""
    if unit != "bytes":
        return f"{value:.4g} {unit}"
    return f"{value / 1e6:.4g} MB" if value >= 1e6 else f"{value / 1e3:.4g} kB"


def _choice(
    model: str, device: str, kind: DeviceKind, options: list[Option], goal: str, tell: Tell
) -> Choice:
    options = _with_frontier(options, goal)
    missing = f"{goal} is not known"
    if kind is DeviceKind.EMULATED and goal != "size":
        missing = f"an emulated device has no {goal}"
    options = [
        replace(item, outside=(*item.outside, missing))
        if item.goal(goal) is None and missing not in item.outside and _ok(item)
        else item
        for item in options
    ]
    within = sorted((item for item in options if not item.outside), key=_by(goal))
    if not within:
        return Choice(model, device, kind.value, goal, None, tuple(sorted(options, key=_by(goal))))
    least, told = _compared(within, goal, tell)
    alike = [least, *(item for item in within if item is not least and _alike(item, told))]
    best = min(alike, key=_preferred(goal))
    found = [best] + [
        replace(item, lost=(_lost(item, best, least, told, goal),))
        for item in within
        if item is not best
    ]
    words = tuple(
        f"{best.name} and {item.name} cannot be told apart in {goal}"
        f"{_interval(told[other.record.id])}: {_deciding(best, item, goal)}"
        for item, other in ((item, best if item is least else item) for item in alike)
        if item is not best and (item is least or best is least)
    )
    rest = sorted((item for item in options if item.outside), key=_by(goal))
    return Choice(model, device, kind.value, goal, best, (*found, *rest), words)


def _compared(
    within: Sequence[Option], goal: str, tell: Tell
) -> tuple[Option, Mapping[int, Difference]]:
    """The least that others can be compared with, and how they compare with it, by job.

    Where nothing can be compared (one trial each), the least of the point estimates.
    """
    found: list[tuple[Option, Mapping[int, Difference]]] = []
    for least in within:
        others = [item.record for item in within if item is not least]
        told = zip(others, tell(least.record, others, goal), strict=True)
        found.append((least, {item.id: difference for item, difference in told}))
        if any(item.ratio is not None for item in found[-1][1].values()):
            return found[-1]
    return found[0]


def _alike(item: Option, told: Mapping[int, Difference]) -> bool:
    """Whether both were compared, and no difference was shown."""
    difference = told[item.record.id]
    return difference.ratio is not None and not difference.shown


def _ok(option: Option) -> bool:
    return option.record.status is JobStatus.OK


def _by(goal: str) -> Callable[[Option], tuple[bool, float, int]]:
    def key(item: Option) -> tuple[bool, float, int]:
        value = item.goal(goal) if _ok(item) else None
        return value is None, value or 0.0, item.size or 0

    return key


def _preferred(goal: str) -> Callable[[Option], tuple[float, ...]]:
    """Of those that are alike in the goal: the smaller, then the more accurate, then the least."""

    def key(item: Option) -> tuple[float, ...]:
        return (item.size or 0, _loss(item), item.goal(goal) or 0.0, item.latency or 0.0)

    return key


def _loss(item: Option) -> float:
    """How inaccurate, to be small: an error itself, or a share's opposite."""
    if item.accuracy is None:
        return 0.0
    return item.accuracy.value if item.accuracy.better == "lower" else -item.accuracy.value


def _deciding(best: Option, other: Option, goal: str) -> str:
    if (best.size or 0) < (other.size or 0):
        return "the smaller one is taken"
    if _loss(best) < _loss(other):
        return "they are of one size, and the more accurate one is taken"
    return f"they are of one size and accuracy, and the one with less {goal} is taken"


def _lost(
    item: Option, best: Option, least: Option, told: Mapping[int, Difference], goal: str
) -> str:
    """Why an option within the bounds is not the best."""
    value, taken = item.goal(goal) or 0.0, least.goal(goal) or 0.0
    if item is least or _alike(item, told):
        part = _against(item, best) or "nothing tells them apart"
        return f"cannot be told apart in {goal} from {best.name}; {part}"
    more = {"latency": "slower", "size": "larger", "memory": "more memory"}[goal]
    than = "" if least is best else f" than {least.name}"
    difference = told[item.record.id]
    if difference.ratio is None:
        by = f"{more}{than}{_by_how_much(value, taken)}" if value > taken else f"not {more}{than}"
        return f"{by} by the estimates alone: {difference.why}"
    return f"{more}{than}{_by_how_much(value, taken)}"


def _by_how_much(value: float, than: float) -> str:
    if not than:
        return ""
    ratio = value / than
    return f": {ratio:.3g} times" if ratio > 2 else f" by {(ratio - 1) * 100:.3g} %"


def _against(item: Option, best: Option) -> str:
    parts = []
    if item.size and best.size and item.size > best.size:
        parts.append(f"larger{_by_how_much(item.size, best.size)}")
    if item.drop is not None and best.drop is not None and item.drop > best.drop:
        parts.append(f"{(item.drop - best.drop) * 100:.2f} points less accurate")
    return ", ".join(parts)


def _interval(told: Difference) -> str:
    why = f"; {told.why}" if told.why else ""
    if told.ratio is None or told.low is None or told.high is None:
        return f" ({told.why})" if told.why else ""
    return f" (ratio {told.ratio:.3f}, 95 % {told.low:.3f} to {told.high:.3f}{why})"


def _with_frontier(options: Sequence[Option], goal: str) -> list[Option]:
    """Which are on the Pareto front of accuracy, latency and size (and memory as the goal)."""

    def costs(item: Option) -> tuple[float, ...] | None:
        values: list[float | None] = [item.size]
        if any(other.accuracy for other in options if _ok(other)):
            values.append(None if item.accuracy is None else _loss(item))
        if any(other.latency is not None for other in options):
            values.append(item.latency)
        if goal == "memory":
            values.append(item.memory)
        known = tuple(value for value in values if value is not None)
        return known if _ok(item) and len(known) == len(values) else None

    every = [found for item in options if (found := costs(item))]
    return [
        replace(item, frontier=(own := costs(item)) is not None and undominated(own, every))
        for item in options
    ]
