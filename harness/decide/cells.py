"""Which jobs are compared with which."""

from __future__ import annotations

from dataclasses import dataclass

from harness.domain import JobStatus
from harness.errors import StoreError, UsageError, suggest
from harness.store import JobRecord, Store


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: a run, or the jobs of one recipe or device in it.

    Written ``RUN``, ``RUN:RECIPE``, ``RUN@DEVICE`` or ``RUN:RECIPE@DEVICE``.
    """

    run: str
    recipe: str = ""
    device: str = ""

    @classmethod
    def parse(cls, text: str) -> Side:
        """Raises ``UsageError`` for a text that names no run."""
        run, colon, rest = text.partition(":")
        recipe, _, device = rest.rpartition("@") if "@" in rest else (rest, "", "")
        if not colon:
            run, _, device = text.partition("@")
        if not run or (colon and not rest):
            raise UsageError(
                f"{text!r} does not say what to compare",
                hint="write RUN, RUN:RECIPE, RUN@DEVICE or RUN:RECIPE@DEVICE, "
                "for example last:int8",
            )
        return cls(run, recipe, device)

    def __str__(self) -> str:
        return (
            self.run
            + (f":{self.recipe}" if self.recipe else "")
            + (f"@{self.device}" if self.device else "")
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
        base, head = (item or self.any for item in (self.base, self.head))

        def both(first: str, second: str) -> str:
            return first if first == second else f"{first} -> {second}"

        return (
            f"{base.job.model}/{both(base.job.recipe, head.job.recipe)} on "
            f"{both(base.job.device, head.job.device)} "
            f"({both(str(base.job.backend), str(head.job.backend))})"
        )


def find_cells(store: Store, base: Side, head: Side) -> list[Cell]:
    """The jobs of both sides side by side, in the order of the head's plan.

    Jobs belong together that agree in model, recipe, device and backend, but for a recipe or a
    device that the sides name themselves. Raises ``StoreError``, and ``UsageError`` where a side
    names what its run does not have, or nothing belongs together.
    """
    sides = [_jobs(store, side) for side in (base, head)]
    if [item.id for item in sides[0]] == [item.id for item in sides[1]]:
        raise UsageError(
            f"{base} and {head} are the same jobs",
            hint="name two runs, or two recipes of one run: last:float32 last:int8",
        )
    by_recipe = base.recipe == head.recipe
    by_device = base.device == head.device

    def key(record: JobRecord) -> tuple[str, ...]:
        job = record.job
        return (
            job.model,
            job.recipe if by_recipe else "",
            job.device if by_device else "",
            str(job.backend),
        )

    before = {key(record): record for record in sides[0]}
    after = {key(record): record for record in sides[1]}
    cells = [Cell(before.get(name), record) for name, record in after.items()]
    cells += [Cell(record, None) for name, record in before.items() if name not in after]
    if not any(cell.base and cell.head for cell in cells):
        raise UsageError(
            f"{base} and {head} have no job in common: the same model, recipe, device and backend",
            hint="compare two recipes with RUN:RECIPE on both sides, devices with RUN@DEVICE",
        )
    return cells


def _jobs(store: Store, side: Side) -> list[JobRecord]:
    run = store.find_run(side.run)
    jobs = store.jobs(run.id)
    if not jobs:
        raise StoreError(f"run {run.id} has no jobs")
    for what, wanted, names in (
        ("recipe", side.recipe, [item.job.recipe for item in jobs]),
        ("device", side.device, [item.job.device for item in jobs]),
    ):
        if wanted and wanted not in names:
            raise UsageError(f"run {run.id} has no {what} {wanted!r}", hint=suggest(wanted, names))
    found = [
        item
        for item in jobs
        if side.recipe in ("", item.job.recipe) and side.device in ("", item.job.device)
    ]
    if not found:
        raise UsageError(f"{side} has no job: that device does not have that recipe")
    return found


def finished(record: JobRecord | None) -> bool:
    """Whether a job has numbers."""
    return record is not None and record.status is JobStatus.OK
