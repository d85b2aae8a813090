"""The best variant within a loss of accuracy: what ``harness search`` does.

First a run over the recipes as they are; where integers lose too much, an examination of
``int8`` and a second run over ``int8_selective`` with what it names. Both are ordinary runs of
the store, so a search that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from harness.cache import cache_dir, json_sha256, whole_file
from harness.config.suites import suite_to_json
from harness.datasets import SOURCES, load_dataset
from harness.decide.candidates import (
    GOALS,
    Candidate,
    best_of,
    candidate,
    judged,
    may_pass,
    references,
    unfinished,
)
from harness.domain import Device, DeviceKind, JobStatus, Suite
from harness.errors import ConversionError, HarnessError, StoreError, UsageError
from harness.models import ResolvedModel
from harness.models.reader import content_sha256
from harness.orchestrate.convert import Splits, missing_split
from harness.orchestrate.debug import Effort, Examination, debug
from harness.orchestrate.events import Converting, Event, Listener, Preparing, RunStarted
from harness.orchestrate.plan import Plan, make_plan, refuse_misfit, resolve
from harness.orchestrate.run import execute
from harness.orchestrate.selective import left_in_float, selections, to_examine
from harness.orchestrate.stop import Stop
from harness.recipes import parse_recipe
from harness.recipes.edgetpu_compiler import TOOL
from harness.store import JobRecord, Store

#: What is tried before anything is kept in float.
FIRST = (
    "float32", "float16", "dynamic_int8", "int8", "int8_float_io", "int16x8", "weight_only_int8",
)  # fmt: skip

#: What is tried as well where there is an Edge TPU, and runs nowhere else.
_COMPILED = "edgetpu"

#: Where float32 is evaluated if none of the devices can run it.
_HOST = Device("local", DeviceKind.REAL, "local", "this machine")


@dataclass(frozen=True, slots=True)
class Goal:
    """What is wanted: the least of ``minimize`` with at most ``bound`` less accuracy.

    ``bound`` is a share, ``budget_seconds`` the time after which nothing new is begun.
    """

    minimize: str
    bound: float
    budget_seconds: float

    def __post_init__(self) -> None:
        if self.minimize not in GOALS:
            raise UsageError(
                f"cannot minimize {self.minimize!r}", hint="known: " + ", ".join(GOALS)
            )


@dataclass(frozen=True, slots=True)
class Found:
    """What came of a search: the best of each device, and everything that was tried.

    ``references`` names for each device the one on which the float variant was evaluated that
    its own are compared with: another one, or this machine, where it runs integers only.
    ``complete`` is false where the budget or the user ended it; calling it again goes on.
    """

    model: str
    minimize: str
    bound: float
    best: Mapping[str, Candidate | None]
    tried: Sequence[Candidate]
    runs: Sequence[str]
    complete: bool
    references: Mapping[str, str] = field(default_factory=dict)


def search(
    store: Store,
    suite: Suite,
    splits: Splits,
    goal: Goal,
    *,
    tell: Listener = lambda event: None,
    stop: Stop | None = None,
) -> Found:
    """Try the suite's recipes, then selective ones, for its one model on its devices.

    Where the suite names no recipes, the usual ones that ``splits`` has samples for. Raises
    ``UsageError`` for what can never work.
    """
    emulated = [item.name for item in suite.devices if item.kind is DeviceKind.EMULATED]
    if emulated and goal.minimize != "size":
        raise UsageError(
            f"{emulated[0]} is emulated: its {goal.minimize} says nothing of a device",
            hint="--minimize size, or search on a real or a simulated device",
        )
    resolved = resolve(suite.models[0])
    suite = replace(suite, recipes=_applicable(resolved, suite, splits))
    work = _Search(store, suite, resolved, goal, tell, stop or Stop())
    work.run()
    tried = judged(work.tried, suite.recipes[0], goal.bound)
    return Found(
        model=suite.models[0].name,
        minimize=goal.minimize,
        bound=goal.bound,
        best={device.name: best_of(tried, device.name) for device in suite.devices},
        tried=tried,
        runs=[run for runs in work.state.stages.values() for run in runs],
        complete=work.complete,
        references={
            device: item.device
            for device, item in references(work.tried, suite.recipes[0]).items()
            if any(device == asked.name for asked in suite.devices)
        },
    )


def usual(devices: Sequence[Device]) -> tuple[str, ...]:
    """The recipes that are tried on these devices unless told otherwise."""
    real = any(_integers_only(item) and item.kind is DeviceKind.REAL for item in devices)
    return (*FIRST, _COMPILED) if real and shutil.which(TOOL) else FIRST


def fitting(plan: Plan) -> Plan:
    """Without what was compiled for an Edge TPU on devices that have none."""
    able = {device.name for device in plan.suite.devices if _integers_only(device)}
    return replace(
        plan,
        jobs=tuple(
            job
            for job in plan.jobs
            if job.device in able or parse_recipe(job.recipe).recipe.name != _COMPILED
        ),
    )


@dataclass(slots=True)
class _State:
    """What a search has done so far, kept in the cache under its key.

    ``stages`` holds the runs of each: the first, and one for each time that what a device's
    trouble had kept from being measured was tried again.
    """

    file: Path
    stages: dict[str, list[str]] = field(default_factory=dict)
    selective: list[str] | None = None

    def save(self) -> None:
        with whole_file(self.file) as part:
            part.write_text(json.dumps({"stages": self.stages, "selective": self.selective}))


class _Search:
    def __init__(
        self,
        store: Store,
        suite: Suite,
        resolved: ResolvedModel,
        goal: Goal,
        tell: Listener,
        stop: Stop,
    ) -> None:
        self._store, self._suite, self._goal, self._tell = store, suite, goal, tell
        self._deadline = time.monotonic() + goal.budget_seconds
        self._user, self._stop = stop, stop.within(goal.budget_seconds)
        self._resolved = resolved
        asked = [suite_to_json(suite), resolved.sha256, store.url, _contents(suite)]
        self.state = _load(cache_dir("host", "searches") / f"{json_sha256(asked)}.json")
        self.tried: list[Candidate] = []
        self.complete = False

    def run(self) -> None:
        """Every stage that the budget allows."""
        self.tried = self._stage("recipes", self._suite)
        if self._unfinished():
            return
        if not self._reference():
            return
        if not self._integers_lose():
            self.complete = True
            return
        if self.state.selective is None and not self._examine():
            return
        if self.state.selective:
            exact = self._suite.recipes[0]
            suite = replace(
                self._suite, recipes=(exact, *self.state.selective), devices=self._flexible()
            )
            found = self._stage("selective", suite)
            self.tried += [item for item in found if item.recipe != exact or item.pending]
        self.complete = not self._unfinished()

    def _reference(self) -> bool:
        """See that there is an accuracy to hold the others to; false where time was over.

        Devices that run integers only have none of the float variant: this machine's counts.
        """
        exact = self._suite.recipes[0]
        references = [item for item in self.tried if item.recipe == exact]
        if any(item.accuracy is not None for item in references):
            return True
        if any(item.accuracy is not None for item in self.tried):
            policy = replace(self._suite.policy, measure=("accuracy",))
            suite = replace(self._suite, recipes=(exact,), devices=(_HOST,), policy=policy)
            references = self._stage("reference", suite)
            self.tried += references
            if self._unfinished() or not references:
                return False
        if all(item.accuracy is None for item in references):
            reason = next((i.error for i in references if i.error), "no accuracy was measured")
            raise ConversionError(f"{exact} gives no accuracy to compare with: {reason}")
        return True

    def _flexible(self) -> tuple[Device, ...]:
        """The devices that can run operators in float beside integer ones."""
        return tuple(item for item in self._suite.devices if not _integers_only(item))

    def _unfinished(self) -> bool:
        return not self.tried or any(item.pending for item in self.tried)

    def _integers_lose(self) -> bool:
        """Whether a device has no integer variant within the bound, for whatever reason."""
        tried = judged(self.tried, self._suite.recipes[0], self._goal.bound)
        integers = [item for item in tried if item.recipe.startswith(("int8", "uint8"))]
        kept = {item.device for item in integers if item.within}
        able = {device.name for device in self._flexible()}
        works = {item.device for item in tried if item.accuracy is not None}
        return any(item.device in (able & works) - kept for item in integers)

    def _stage(self, name: str, suite: Suite) -> list[Candidate]:
        """One run, gone on with where it was begun; what the store holds of it.

        Cells that a device's trouble ended are measured anew in a run of their own; a variant
        that could not be made or run stays failed.
        """
        begun = self.state.stages.get(name, [])
        if not all(_known(self._store, run) for run in begun):
            begun = self.state.stages[name] = []
        again = {_cell(item) for item in self._records(name) if may_pass(item)}
        for run in begun:
            if not self._stop() and JobStatus.PENDING.value in self._store.counts(run):
                execute(self._store, resume=run, tell=self._tell, stop=self._stop)
        if not self._stop() and (again or not begun):
            plan = fitting(make_plan(suite))
            if begun:
                jobs = tuple(job for job in plan.jobs if (job.recipe, job.device) in again)
                plan = replace(plan, jobs=jobs)
            execute(self._store, plan=plan, tell=self._noting(name), stop=self._stop)
        return [
            unfinished(self._store, record, suite.policy, self._labels)
            if record.status is JobStatus.PENDING
            else candidate(record, self._goal.minimize)
            for record in self._records(name)
        ]

    def _labels(self) -> NDArray[Any]:
        model = self._suite.models[0]
        return load_dataset(self._suite.datasets[model.dataset], SOURCES, model.task).labels

    def _records(self, name: str) -> list[JobRecord]:
        """Each cell of a stage as its newest run has it."""
        records = {
            _cell(record): record
            for run in self.state.stages.get(name, ())
            for record in self._store.jobs(run)
        }
        return list(records.values())

    def _noting(self, name: str) -> Listener:
        """The listener, which also keeps a new run's id so that it can be gone on with."""

        def tell(event: Event) -> None:
            if isinstance(event, RunStarted):
                self.state.stages.setdefault(name, []).append(event.run)
                self.state.save()
            self._tell(event)

        return tell

    def _examine(self) -> bool:
        """Find the operators that cost ``int8`` its accuracy; false where time was over."""
        if self._stop():
            return False
        self._tell(Preparing("integers lose too much: looking for the operators that do it"))
        dataset = self._suite.datasets[self._suite.models[0].dataset]
        name = self._suite.models[0].name
        floats = left_in_float(self.tried)
        recipe = to_examine(self._suite.recipes, floats)
        found: Examination | None = None
        try:
            found = debug(
                self._resolved.model,
                recipe,
                dataset,
                Splits(dataset, dataset),
                Effort(),
                progress=lambda recipe, said: self._tell(Converting(name, recipe, said)),
                stopped=self._stop,
            )
        except HarnessError as error:
            if self._stop():
                return False
            self._tell(Preparing(f"the operators could not be told apart: {error.one_line}"))
            if not floats:
                return True  # nothing is kept of it: the next search tries again
        self.state.selective = selections(recipe, found)
        self.state.save()
        return True


def _load(file: Path) -> _State:
    try:
        kept = json.loads(file.read_text())
        return _State(file, dict(kept["stages"]), kept["selective"])
    except (OSError, ValueError, KeyError, TypeError):
        return _State(file)


def _known(store: Store, run: str) -> bool:
    try:
        store.find_run(run)
    except StoreError:
        return False
    return True


def _integers_only(device: Device) -> bool:
    return device.default_backend.accelerator == "edgetpu"


def _cell(record: JobRecord) -> tuple[str, str]:
    return record.job.recipe, record.job.device


def _contents(suite: Suite) -> list[str]:
    """The hashes of the samples: another content of the same files is another search."""
    dataset = suite.datasets[suite.models[0].dataset]
    paths = {dataset.path, dataset.calibration, dataset.training} - {None}
    return sorted(content_sha256(path) for path in paths if path is not None)


def _applicable(resolved: ResolvedModel, suite: Suite, splits: Splits) -> tuple[str, ...]:
    """The recipes that the model's format allows, the float reference first.

    Raises ``UsageError`` for a recipe that was asked for and has no samples.
    """
    kept = ["float32" if resolved.convertible else "as_is"]
    for text in suite.recipes or usual(suite.devices):
        chosen = parse_recipe(text)
        missing = missing_split(resolved, chosen, splits)
        if missing and suite.recipes:
            raise UsageError(f"the recipe {chosen.text} {missing}")
        if missing:
            continue
        try:
            refuse_misfit(resolved.model, chosen, convertible=resolved.convertible)
        except UsageError:
            continue
        kept.append(chosen.text)
    return tuple(dict.fromkeys(kept))
