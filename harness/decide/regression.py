"""Cells held against a baseline, and against the float variant on the same samples."""

from __future__ import annotations

from dataclasses import dataclass

from harness.decide.compare import Compared, compare
from harness.decide.gates import Found, without_numbers
from harness.domain import Answer, Gate, JobStatus, Outcome, Verdict
from harness.errors import HarnessError
from harness.stats import paired_shares
from harness.store import JobRecord, Store


@dataclass(frozen=True, slots=True)
class _Baseline:
    """A whole run compared with another: by job, or why there is no comparison."""

    cells: dict[int, Compared]
    missing: str = ""
    lost: tuple[JobRecord, ...] = ()


class RunSources:
    """What the gates of one run need beside its records; see ``gates.Sources``."""

    def __init__(self, store: Store, run: str) -> None:
        self._store, self._run = store, run
        self._baselines: dict[tuple[str, tuple[str, ...]], _Baseline] = {}

    def missing(self, gate: Gate) -> str:
        """Why a gate's baseline cannot be compared with at all; empty where it can."""
        return self._against(gate.no_regression_against or "", gate.allow).missing

    def regression(self, gate: Gate, record: JobRecord) -> Found:
        """Fails where any verdict of the comparison is worse, as ``harness compare`` has them.

        A cell without a verdict cannot be told. One that was measured in the baseline and that
        the device no longer supports has failed.
        """
        name = gate.no_regression_against or ""
        found = self._against(name, gate.allow)
        cell = found.cells.get(record.id)
        base = cell.cell.base if cell is not None else None
        if record.status is JobStatus.UNSUPPORTED:
            if base is not None and base.status is JobStatus.OK:
                why = f"measured in {name}, and now the device cannot run it: {record.error or ''}"
                return Found(Answer.FAILED, why=why)
            return Found(Answer.NOT_APPLICABLE, why="the device cannot run this by nature")
        if record.status is not JobStatus.OK:
            return Found(Answer.CANNOT_TELL, why=without_numbers(record))
        if cell is None or base is None:
            why = f"{name} does not have this cell: name a newer run (harness baseline set)"
            return Found(Answer.CANNOT_TELL, why=why)
        if cell.refused:
            refused = cell.refused.replace("(--allow ", "(allow it in the gate: ")
            return Found(Answer.CANNOT_TELL, why=f"not comparable with {name}: {refused}")
        return _judged(cell.verdicts)

    def lost(self, gate: Gate) -> tuple[JobRecord, ...]:
        """Cells that were measured in the baseline and are not in this run at all."""
        return self._against(gate.no_regression_against or "", gate.allow).lost

    def paired_drop(self, exact: JobRecord, own: JobRecord) -> tuple[float, float] | None:
        """Newcombe's interval on the same samples; ``None`` where which were right is not kept."""
        for key in ("dataset_sha256", "labels_sha256"):
            if exact.facts.get(key) != own.facts.get(key):
                return None
        right = [self._store.artifact(item.id, "correct") for item in (exact, own)]
        if right[0] is None or right[1] is None or len(right[0]) != len(right[1]):
            return None
        effect = paired_shares(right[0].astype(bool), right[1].astype(bool))
        return -effect.high, -effect.low

    def _against(self, name: str, allow: tuple[str, ...]) -> _Baseline:
        key = (name, allow)
        if key not in self._baselines:
            self._baselines[key] = self._compare(name, allow)
        return self._baselines[key]

    def _compare(self, name: str, allow: tuple[str, ...]) -> _Baseline:
        try:
            base = self._store.find_run(name).id
            if base == self._run:
                return _Baseline({}, f"{name} is this very run: there is nothing to compare with")
            found = compare(self._store, base, self._run, allow=allow)
        except HarnessError as error:  # a gate is never passed, nor a run lost, for want of it
            return _Baseline({}, error.one_line)
        lost = [item.cell.base for item in found.cells if item.cell.head is None]
        return _Baseline(
            {item.cell.head.id: item for item in found.cells if item.cell.head},
            lost=tuple(base for base in lost if base and base.status is JobStatus.OK),
        )


def _judged(verdicts: tuple[Verdict, ...]) -> Found:
    worse = [item for item in verdicts if item.outcome is Outcome.WORSE]
    unclear = [item for item in verdicts if item.outcome is Outcome.CANNOT_TELL]
    if worse:
        return Found(Answer.FAILED, why="; ".join(map(_words, worse)))
    if unclear:
        return Found(Answer.CANNOT_TELL, why="; ".join(map(_words, unclear)))
    if not verdicts:
        return Found(Answer.CANNOT_TELL, why="nothing was measured on both sides")
    names = ", ".join(item.metric for item in verdicts)
    return Found(Answer.PASSED, why=f"nothing worse of {names}")


def _words(item: Verdict) -> str:
    if item.outcome is Outcome.CANNOT_TELL:
        return f"{item.metric}: {item.reason}"
    parts = [f"{item.metric} worse"]
    if item.effect is not None:
        factor, form = (1.0, "ratio {:.3f}") if item.unit == "ratio" else (1.0, "by {:+.3g}")
        if item.unit == "share":
            factor, form = 100.0, "by {:+.2f} points"
        parts.append(form.format(item.effect * factor))
        if item.low is not None and item.high is not None:
            digits = ".3f" if item.unit == "ratio" else ".3g"
            low, high = item.low * factor, item.high * factor
            parts.append(f"({low:{digits}} to {high:{digits}})")
    return " ".join(parts)
