"""Gates held against the records of a run.

Every bound has an answer for every cell that it is for. The point estimate decides; that its
interval contains the bound is said. What has no number is never passed: it cannot be told.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from harness.decide.reference import FLOAT, drop, float_reference, place
from harness.domain import Answer, DeviceKind, Gate, JobStatus
from harness.metrics import main_measurement
from harness.store import JobRecord


@dataclass(frozen=True, slots=True)
class Found:
    """What was found of one cell: its number with its interval in the bound's unit, and why."""

    answer: Answer
    value: float | None = None
    low: float | None = None
    high: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One bound held against one cell.

    ``bound``, ``value``, ``low`` and ``high`` are in ms, points, bytes or shares of operators,
    as ``limit`` says. ``model`` and what follows are empty where it is of no cell: of all.
    """

    limit: str
    bound: Any
    found: Found
    run: str
    model: str = ""
    recipe: str = ""
    device: str = ""
    kind: str = ""
    backend: str = ""

    @property
    def answer(self) -> Answer:
        """What came of it."""
        return self.found.answer

    @property
    def straddles(self) -> bool:
        """Whether the interval contains the bound, so that the next run may answer otherwise."""
        low, high, bound = self.found.low, self.found.high, self.bound
        if low is None or high is None or not isinstance(bound, int | float):
            return False
        return low <= bound <= high and low < high


class Sources(Protocol):
    """What records alone do not tell: other runs, and which samples were right."""

    def missing(self, gate: Gate) -> str:
        """Why there is nothing that a gate's cells could be held against; empty where there is."""

    def regression(self, gate: Gate, record: JobRecord) -> Found:
        """Hold a cell against the run or baseline that a gate names."""

    def lost(self, gate: Gate) -> Sequence[JobRecord]:
        """The measured cells of what a gate names that this run does not have at all."""

    def paired_drop(self, exact: JobRecord, own: JobRecord) -> tuple[float, float] | None:
        """The interval of a loss of accuracy on the same samples, in shares, where it is known."""


def passed(findings: Sequence[Finding]) -> bool:
    """Whether nothing failed and nothing is left that cannot be told."""
    return all(item.answer in (Answer.PASSED, Answer.NOT_APPLICABLE) for item in findings)


def evaluate(
    run: str, records: Sequence[JobRecord], gates: Sequence[Gate], sources: Sources
) -> list[Finding]:
    """Every bound of every gate against every cell of a run that it is for, in that order."""
    return [
        finding
        for gate in gates
        for limit, bound in gate.limits().items()
        for finding in _of_limit(run, records, gate, limit, bound, sources)
    ]


def _of_limit(
    run: str,
    records: Sequence[JobRecord],
    gate: Gate,
    limit: str,
    bound: Any,
    sources: Sources,
) -> Iterator[Finding]:
    held = 0
    if limit == "no_regression_against" and (why := sources.missing(gate)):
        yield Finding(limit, bound, Found(Answer.CANNOT_TELL, why=why), run)
        return
    for record in records:
        if not gate.holds_for(*_names(record)):
            continue
        if limit == "no_regression_against":
            found = sources.regression(gate, record)
        else:
            found = _held(_Cell(record, records, gate, sources), limit, float(bound))
        held += found.answer is not Answer.NOT_APPLICABLE
        yield _of_cell(limit, bound, found, run, record)
    for record in sources.lost(gate) if limit == "no_regression_against" else ():
        if gate.holds_for(*_names(record)):
            held += 1
            why = (
                f"{bound} has measured it, and this run does not have it: if it was left out on "
                "purpose, name a newer baseline (harness baseline set)"
            )
            yield _of_cell(limit, bound, Found(Answer.CANNOT_TELL, why=why), run, record)
    if not held:
        why = "no cell of this run is one that it holds for: nothing was held against it"
        yield Finding(limit, bound, Found(Answer.CANNOT_TELL, why=why), run)


def _names(record: JobRecord) -> tuple[str, str, str, str]:
    job = record.job
    return job.model, job.recipe, job.device, str(job.backend)


def _of_cell(limit: str, bound: Any, found: Found, run: str, record: JobRecord) -> Finding:
    model, recipe, _, backend = _names(record)
    kind = record.job.kind.value
    return Finding(limit, bound, found, run, model, recipe, place(record), kind, backend)


@dataclass(frozen=True, slots=True)
class _Cell:
    """A job with all that may be looked at to judge it."""

    record: JobRecord
    records: Sequence[JobRecord]
    gate: Gate
    sources: Sources


def _held(cell: _Cell, limit: str, bound: float) -> Found:
    record = cell.record
    if record.status is JobStatus.UNSUPPORTED:
        return Found(
            Answer.NOT_APPLICABLE,
            why=f"the device cannot run this by nature: {record.error or 'no reason was given'}",
        )
    if record.status is not JobStatus.OK and not (limit == "max_size" and record.size_bytes):
        return Found(Answer.CANNOT_TELL, why=without_numbers(record))
    found = _VALUES[limit](cell)
    if found.value is None:
        return found
    if not math.isfinite(found.value):
        return Found(Answer.CANNOT_TELL, why=f"the value is {found.value}, not a number")
    kept = found.value >= bound if limit.startswith("min_") else _at_most(found.value, bound)
    answer = Answer.PASSED if kept else Answer.FAILED
    return Found(answer, found.value, found.low, found.high, found.why)


def _at_most(value: float, bound: float) -> bool:
    """A bound of 0.5 points is kept by a drop of 0.5, whatever the binary fractions say."""
    return value <= bound * (1 + 1e-12) + 1e-12


def without_numbers(record: JobRecord) -> str:
    """Why a job has no numbers, in words."""
    if record.status is JobStatus.PENDING:
        return "the job was not run yet: resume the run"
    cause = " ".join((record.error or "no cause was given").split())
    return f"the job has no numbers: {record.status.value} at {record.stage.value}: {cause}"


def _latency(cell: _Cell) -> Found:
    if cell.record.job.kind is DeviceKind.EMULATED:
        return Found(Answer.NOT_APPLICABLE, why="an emulated device has no latency")
    return _measured(cell.record, "latency_median", "latency was not measured in this run")


def _memory(cell: _Cell) -> Found:
    if cell.record.job.kind is DeviceKind.EMULATED:
        return Found(
            Answer.NOT_APPLICABLE, why="the memory of an emulated device is the emulator's"
        )
    found = _measured(cell.record, "memory_peak", "the device did not tell its memory")
    return Found(found.answer, found.value, why=found.why)  # its low is another trial's peak


def _measured(record: JobRecord, name: str, missing: str) -> Found:
    measured = record.measurements.get(name)
    if measured is None:
        return Found(Answer.CANNOT_TELL, why=missing)
    alone = name == "latency_median" and measured.low is None
    why = "one trial: no interval" if alone else ""
    return Found(Answer.PASSED, measured.value, measured.low, measured.high, why)


def _size(cell: _Cell) -> Found:
    if cell.record.size_bytes is None:
        return Found(Answer.CANNOT_TELL, why="the size of the file is not known")
    return Found(Answer.PASSED, float(cell.record.size_bytes))


def _accuracy(cell: _Cell) -> Found:
    record = cell.record
    if record.job.recipe == FLOAT:
        return Found(
            Answer.NOT_APPLICABLE, why="it is the float variant, which others are held against"
        )
    own = main_measurement(record.measurements)
    if own is None:
        return Found(Answer.CANNOT_TELL, why="accuracy was not measured")
    if own.unit not in ("share", "area"):
        return Found(
            Answer.CANNOT_TELL,
            why=f"{own.name} is no share, so points of it mean nothing: leave this model out of "
            "the gate (models = [...])",
        )
    base = float_reference(record, cell.records)
    exact = main_measurement(base.measurements) if base is not None else None
    if base is None or exact is None or exact.name != own.name:
        return Found(
            Answer.CANNOT_TELL,
            why=f"this run has no {FLOAT} of {record.job.model} with an accuracy to compare with",
        )
    value, low, high = drop(own, exact)
    if paired := cell.sources.paired_drop(base, record):
        low, high = paired
    elsewhere = place(base) != place(record)
    why = f"against {FLOAT} on {place(base)}: the same file, the same samples" if elsewhere else ""
    return Found(Answer.PASSED, 100 * value, _points(low), _points(high), why)


def _points(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _delegated(cell: _Cell) -> Found:
    backend = cell.record.job.backend
    if backend.accelerator == "cpu" and str(backend) not in cell.gate.backends:
        return Found(
            Answer.NOT_APPLICABLE,
            why="no accelerator was asked for (name the backend in backends = [...] to hold "
            "XNNPACK's share against it)",
        )
    told = cell.record.facts.get("delegated")
    nodes, total = (told.get(key) for key in ("nodes", "total")) if isinstance(
        told, Mapping
    ) else (None, None)  # fmt: skip
    if not isinstance(nodes, int) or not isinstance(total, int) or total <= 0:
        return Found(
            Answer.CANNOT_TELL, why="the runtime did not tell how many operators were delegated"
        )
    return Found(Answer.PASSED, nodes / total, why=f"{nodes} of {total} operators")


_VALUES: dict[str, Callable[[_Cell], Found]] = {
    "max_latency_ms": _latency,
    "max_accuracy_drop": _accuracy,
    "max_size": _size,
    "max_memory": _memory,
    "min_delegated": _delegated,
}
