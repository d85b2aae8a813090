"""Two variants or two runtimes against each other on one device: what ``harness ab`` does."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from harness.config.sources import SELF_CONTAINED
from harness.decide.ab import Contest, Measured
from harness.domain import (
    Backend,
    Dataset,
    Device,
    DeviceKind,
    Job,
    JobStatus,
    Model,
    Policy,
    Suite,
)
from harness.errors import UsageError
from harness.orchestrate.convert import Splits, missing_split
from harness.orchestrate.events import Listener
from harness.orchestrate.made_samples import made_samples
from harness.orchestrate.pair import Bounds, Course, Pair
from harness.orchestrate.plan import Plan, refuse_misfit, resolve
from harness.orchestrate.run import execute
from harness.orchestrate.stop import Stop
from harness.recipes import parse_recipe
from harness.recipes.making.builtin import PREFIX
from harness.store import Store
from harness.transports import TRANSPORTS

#: What is measured of a model unless a recipe is named: the file, or the model as it is.
_AS_IS, _EXACT = "as_is", "float32"


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: ``recipe`` empty for the file as it is, or float32 of another source."""

    model: Model
    recipe: str
    device: Device
    backend: Backend


def ab(
    store: Store,
    a: Side,
    b: Side,
    data: Dataset | None,
    bounds: Bounds,
    *,
    policy: Policy | None = None,
    tell: Listener = lambda event: None,
    stop: Stop | None = None,
) -> Contest:
    """Measure A and B in turns until it is clear which one is faster.

    The run goes to the store as one of two jobs, A first. Without ``data`` samples are made up,
    for a ready ``.tflite`` file only. ``policy`` says how a trial measures; how many there are is
    up to ``bounds``. Raises ``UsageError`` for what can never work.
    """
    policy = policy or Policy()
    _refuse_apart(a.device, b.device)
    sides = tuple(_prepared(side, data) for side in _told_apart(a, b))
    (first, samples), (second, others) = sides
    least = min(bounds.min_rounds, bounds.max_rounds)
    suite = Suite(
        name=f"ab {a.model.name}" + ("" if a.model.name == b.model.name else f" {b.model.name}"),
        models=tuple(dict.fromkeys((first.model, second.model))),
        datasets={item.name: item for item in (samples, others)},
        recipes=tuple(dict.fromkeys((first.recipe, second.recipe))),
        devices=tuple({side.device.name: side.device for side, _ in sides}.values()),
        backends=(),
        policy=replace(
            policy, measure=("latency",), trials=least, max_trials=bounds.max_rounds
        ),
        description="two in turns, until it was clear which one is faster",
    )  # fmt: skip
    jobs = tuple(
        Job(index, side.model.name, side.recipe, side.device.name, side.device.kind, side.backend)
        for index, (side, _) in enumerate(sides)
    )
    course = Course(bounds)
    outcome = execute(
        store, plan=Plan(suite, jobs), tell=tell, stop=stop, runner=partial(Pair, course)
    )
    return _concluded(store, outcome.run, course)


def _concluded(store: Store, run: str, course: Course) -> Contest:
    records = store.jobs(run)
    failed = [
        record
        for record in records
        if record.status in (JobStatus.FAILED, JobStatus.UNSUPPORTED)
    ]  # fmt: skip
    ended = "failed" if failed else course.ended or "interrupted"
    failure = "; ".join(
        dict.fromkeys(f"{'AB'[record.job.index]}: {record.error}" for record in failed)
    )
    a, b = (
        Measured(record, tuple(item.median for _, item in sorted(side.items())))
        for record, side in zip(records, course.sides, strict=True)
    )
    return Contest(
        run, a, b, course.standing, course.bounds.min_effect, course.seconds, ended, failure,
        course.same,
    )  # fmt: skip


def _told_apart(a: Side, b: Side) -> tuple[Side, Side]:
    """Both with names of their own where they share one, so that their jobs differ.

    One model that differs in recipe, device or backend stays one model.
    """
    a, b = (replace(side, recipe=_recipe(side)) for side in (a, b))
    if a.model.name != b.model.name:
        return a, b
    differ = (a.recipe, a.device.name, a.backend) != (b.recipe, b.device.name, b.backend)
    if a.model == b.model and differ:
        return a, b
    renamed = (
        replace(side, model=replace(side.model, name=f"{side.model.name}-{letter}"))
        for side, letter in ((a, "a"), (b, "b"))
    )
    return next(renamed), next(renamed)


def _recipe(side: Side) -> str:
    if side.recipe:
        return str(parse_recipe(side.recipe).text)
    return _AS_IS if _ready(side.model) is not None else _EXACT


def _ready(model: Model) -> Path | None:
    """The model's file where it is a ``.tflite``; raises ``ModelError`` for what is no model."""
    if model.source.startswith(PREFIX):
        return None
    found = resolve(model)
    return None if found.convertible else found.path


def _prepared(side: Side, data: Dataset | None) -> tuple[Side, Dataset]:
    """The side with its dataset; refuses a recipe that does not fit or has no samples."""
    ready = _ready(side.model)
    chosen = parse_recipe(side.recipe)
    refuse_misfit(side.model, chosen, convertible=ready is None)
    what = f"model {side.model.name}"
    if data is None:
        if ready is None:
            raise UsageError(
                f"{what} is no ready .tflite file: samples for it cannot be made up",
                hint="give samples that fit it with --data",
            )
        if chosen.recipe.needs_training or chosen.recipe.calibrates(convertible=False):
            raise UsageError(
                f"{what}: the recipe {chosen.text} needs samples of its own",
                hint="give them with --calibration or --train, and with --data those to time with",
            )
        data = made_samples(ready)
    elif not side.model.source.startswith(PREFIX):
        splits = Splits(
            data if data.calibration or data.source in SELF_CONTAINED else None,
            data if data.training or data.source in SELF_CONTAINED else None,
        )
        if missing := missing_split(resolve(side.model), chosen, splits):
            raise UsageError(f"the recipe {chosen.text} {missing}")
    return replace(side, model=replace(side.model, dataset=data.name)), data


def _refuse_apart(a: Device, b: Device) -> None:
    """Only what is measured on one board, in one state, can be told apart by turns."""
    for device in (a, b):
        if device.kind is DeviceKind.EMULATED:
            raise UsageError(
                f"{device.name} is emulated: its times say nothing of a device",
                hint="compare on a real or a simulated device",
            )
    if a.name == b.name:
        return
    if a.kind is not b.kind:
        raise UsageError(
            f"{a.name} is {a.kind.value} and {b.name} is {b.kind.value}: they are no two "
            "profiles of one board",
            hint="compare on one device; harness compare tells runs of different kinds apart",
        )
    addresses = [TRANSPORTS[device.transport](device).address for device in (a, b)]
    if addresses[0] != addresses[1]:
        raise UsageError(
            f"{a.name} ({addresses[0]}) and {b.name} ({addresses[1]}) are two boards; in turns "
            "is for two profiles of one",
            hint=f"for two boards: harness run SUITE --device {a.name} --device {b.name}, then "
            f"harness compare last@{a.name} last@{b.name}",
        )
