"""Which jobs are compared with which."""

from __future__ import annotations

from dataclasses import dataclass

from harness.domain import JobStatus
from harness.errors import StoreError, UsageError, suggest
from harness.store import JobRecord, Store

#: How a side is written, for messages.
FORMS = "RUN, RUN:RECIPE, RUN:MODEL/RECIPE, each also with @DEVICE"


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: a run, or the jobs of one model, recipe or device in it.

    Written ``RUN``, ``RUN:RECIPE`` or ``RUN:MODEL/RECIPE`` (``RUN:MODEL/``: all its recipes),
    each also with ``@DEVICE`` behind it.
    """

    run: str
    recipe: str = ""
    device: str = ""
    model: str = ""

    @classmethod
    def parse(cls, text: str) -> Side:
        """Raises ``UsageError`` for a text that names no run."""
        run, colon, rest = text.partition(":")
        recipe, _, device = rest.rpartition("@") if "@" in rest else (rest, "", "")
        if not colon:
            run, _, device = text.partition("@")
        model, slash, last = recipe.partition("/")
        if slash:
            recipe = last
        if not run or (colon and not (recipe or model)) or (slash and not model) or text[-1] == "@":
            raise UsageError(
                f"{text!r} does not say what to compare",
                hint=f"write {FORMS}, for example last:int8",
            )
        return cls(run, recipe, device, model if slash else "")

    def __str__(self) -> str:
        named = f"{self.model}/{self.recipe}" if self.model else self.recipe
        return (
            self.run + (f":{named}" if named else "") + (f"@{self.device}" if self.device else "")
        )


@dataclass(frozen=True, slots=True)
class Cell:
    """Two jobs of the same place in their plans; one is missing where only one side has it."""

    base: JobRecord | None
    head: JobRecord | None

    @property
    def any(self) -> JobRecord:
        """Whichever there is."""
        found = self.head or self.base
        assert found is not None
        return found

    @property
    def label(self) -> str:
        """Model, recipe, device and backend; both where the sides differ."""
        base, head = self._sides
        model, recipe = self.model, _both(base.job.recipe, head.job.recipe)
        if base.job.model == head.job.model:
            return f"{model}/{recipe} on {self.where}"
        variants = (f"{side.job.model}/{side.job.recipe}" for side in (base, head))
        return f"{_both(*variants)} on {self.where}"

    @property
    def model(self) -> str:
        """The model's name; both where the sides differ."""
        base, head = self._sides
        return _both(base.job.model, head.job.model)

    @property
    def where(self) -> str:
        """Device and backend; both where the sides differ."""
        base, head = self._sides
        backend = _both(str(base.job.backend), str(head.job.backend))
        return f"{_both(base.job.device, head.job.device)} ({backend})"

    @property
    def _sides(self) -> tuple[JobRecord, JobRecord]:
        return self.base or self.any, self.head or self.any


def _both(first: str, second: str) -> str:
    return first if first == second else f"{first} -> {second}"


def find_cells(store: Store, base: Side, head: Side) -> list[Cell]:
    """The jobs of both sides side by side, in the order of the head's plan.

    Jobs belong together that agree in model, recipe, device and backend, but for what the sides
    name themselves. Raises ``StoreError``, and ``UsageError`` where a side
    names what its run does not have, or nothing belongs together.
    """
    sides = [_jobs(store, side) for side in (base, head)]

    def place(record: JobRecord) -> tuple[str, ...]:
        job = record.job
        return (
            job.model if base.model == head.model else "",
            job.recipe if base.recipe == head.recipe else "",
            job.device if base.device == head.device else "",
        )

    if [item.id for item in sides[0]] == [item.id for item in sides[1]]:
        raise UsageError(
            f"{base} and {head} are the same jobs",
            hint="name two runs, or two recipes of one run: last:float32 last:int8",
        )
    for what, named in (
        ("model", (base.model, head.model)),
        ("recipe", (base.recipe, head.recipe)),
        ("device", (base.device, head.device)),
    ):
        if bool(named[0]) != bool(named[1]):
            raise UsageError(
                f"only one of {base} and {head} names a {what}",
                hint=f"name a {what} on both sides, or on none",
            )

    # Where both have one backend they belong together whatever its threads: that they
    # differ is then said by name.
    backends = [{(place(record), str(record.job.backend)) for record in side} for side in sides]
    several = any(len({where for where, _ in side}) < len(side) for side in backends)

    def key(record: JobRecord) -> tuple[str, ...]:
        own = str(record.job.backend) if several else record.job.backend.accelerator
        return (*place(record), own)

    before = {key(record): record for record in sides[0]}
    after = {key(record): record for record in sides[1]}
    cells = [Cell(before.get(name), record) for name, record in after.items()]
    cells += [Cell(record, None) for name, record in before.items() if name not in after]
    if not any(cell.base and cell.head for cell in cells):
        raise UsageError(
            f"{base} and {head} have no job in common: the same model, recipe, device and backend",
            hint="compare two recipes with RUN:RECIPE on both sides, models with "
            "RUN:MODEL/RECIPE, devices with RUN@DEVICE",
        )
    return cells


def _jobs(store: Store, side: Side) -> list[JobRecord]:
    run = store.find_run(side.run)
    jobs = store.jobs(run.id)
    if not jobs:
        raise StoreError(f"run {run.id} has no jobs")
    for what, wanted, names in (
        ("model", side.model, [item.job.model for item in jobs]),
        ("recipe", side.recipe, [item.job.recipe for item in jobs]),
        ("device", side.device, [item.job.device for item in jobs]),
    ):
        if wanted and wanted not in names:
            raise UsageError(f"run {run.id} has no {what} {wanted!r}", hint=suggest(wanted, names))
    found = [
        item
        for item in jobs
        if side.model in ("", item.job.model)
        and side.recipe in ("", item.job.recipe)
        and side.device in ("", item.job.device)
    ]
    if not found:
        raise UsageError(f"{side} has no job: that device does not have that recipe")
    return found


def finished(record: JobRecord | None) -> bool:
    """Whether a job has numbers."""
    return record is not None and record.status is JobStatus.OK
