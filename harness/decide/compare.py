"""``harness compare``: a Verdict for every cell and measurement."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.decide.cells import Cell, Side, find_cells, finished
from harness.decide.comparable import ALLOWED, is_emulated, refusal
from harness.decide.evidence import Evidence, evidence
from harness.domain import DeviceKind, Direction, JobStatus, Measurement, Outcome, Verdict
from harness.errors import UsageError, suggest
from harness.metrics import main_measurement
from harness.stats import (
    FEWEST_DRAWN,
    Effect,
    Floats,
    benjamini_hochberg,
    median_ratio,
    paired_shares,
)
from harness.store import Store

#: Differences that are rarer than this by accident, after the correction, are shown as such.
SIGNIFICANCE = 0.05

#: Relative differences of latency and memory below this are of no account.
MIN_EFFECT = 0.02


@dataclass(frozen=True, slots=True)
class Compared:
    """One cell with its verdicts, or why the two jobs cannot be compared at all."""

    cell: Cell
    verdicts: tuple[Verdict, ...]
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that was compared: ``tests`` counts those that the correction is for."""

    base: Side
    head: Side
    cells: tuple[Compared, ...]
    min_effect: float
    tests: int

    def of(self, outcome: Outcome) -> list[tuple[Compared, Verdict]]:
        """The verdicts that ended so, with their cells."""
        return [(item, found) for item in self.cells for found in item.verdicts
                if found.outcome is outcome]  # fmt: skip

    @property
    def uncompared(self) -> list[Compared]:
        """Cells without any verdict."""
        return [item for item in self.cells if item.refused]


def compare(
    store: Store,
    base: str,
    head: str,
    *,
    min_effect: float = MIN_EFFECT,
    allow: Collection[str] = (),
    seed: int = 0,
) -> Comparison:
    """Compare two runs, or variants or devices within a run; see ``Side`` for how to name them.

    Latency and memory by the bootstrap over trials of ``stats.median_ratio``, accuracy by
    McNemar's test on the same samples, size and delegation exactly. All p-values together are
    corrected by Benjamini and Hochberg's procedure. A difference is shown where the adjusted p
    is at most 0.05, the interval does not hold equality and, of latency and memory, the ratio is
    at least ``min_effect`` (0.02: 2 %) away from 1.

    ``allow`` names what may differ without a refusal, see ``comparable.ALLOWED``; ``all`` is
    everything. Raises ``UsageError``, ``StoreError``.
    """
    if not 0 <= min_effect < 1:
        raise UsageError(f"the minimum effect is a share of 0 to 1, not {min_effect:g}")
    for name in allow:
        if name not in (*ALLOWED, "all"):
            raise UsageError(f"nothing is allowed by {name!r}", hint=suggest(name, ALLOWED))
    allowed = ALLOWED if "all" in allow else tuple(allow)
    sides = Side.parse(base), Side.parse(head)
    if sides[0].device != sides[1].device:
        allowed = (*allowed, "device")  # two devices are what is to be compared
    found = [_compare(store, cell, allowed, seed) for cell in find_cells(store, *sides)]
    tests = [item.p for done in found for item in done.verdicts if item.p is not None]
    return Comparison(*sides, tuple(_corrected(found, min_effect)), min_effect, len(tests))


def _compare(store: Store, cell: Cell, allow: Collection[str], seed: int) -> Compared:
    base, head = cell.base, cell.head
    if base is None or head is None:
        side = "head" if base is None else "base"
        return Compared(cell, (), f"only the {side} has this job")
    for name, record in (("base", base), ("head", head)):
        if not finished(record):
            pending = record.status is JobStatus.PENDING
            why = record.error or ("resume the run" if pending else "no reason is kept")
            return Compared(cell, (), f"the {name}'s job is {record.status.value}: {why}")
    if why := refusal(base, head, allow):
        return Compared(cell, (), why)
    sides = evidence(store, base), evidence(store, head)
    verdicts = [*_latency(*sides, seed), *_accuracy(*sides), *_size(*sides), *_memory(*sides, seed)]
    return Compared(cell, (*verdicts, *_delegation(*sides)))


def _corrected(found: Sequence[Compared], min_effect: float) -> Iterator[Compared]:
    """Outcomes after the correction for all comparisons together."""
    every = [item for done in found for item in done.verdicts]
    adjusted = benjamini_hochberg(
        np.array([np.nan if item.p is None else item.p for item in every])
    )
    place = iter(adjusted)
    for done in found:
        verdicts = [(item, next(place)) for item in done.verdicts]
        yield replace(
            done,
            verdicts=tuple(
                item if item.p is None else _concluded(item, float(value), min_effect)
                for item, value in verdicts
            ),
        )


def _concluded(verdict: Verdict, adjusted: float, min_effect: float) -> Verdict:
    assert verdict.effect is not None and verdict.low is not None and verdict.high is not None
    ratio = verdict.unit == "ratio"
    equal = 1.0 if ratio else 0.0
    far = not ratio or max(verdict.effect, 1 / verdict.effect) >= 1 + min_effect
    if verdict.outcome is Outcome.CANNOT_TELL:
        return replace(verdict, adjusted=adjusted)
    outcome, reason = Outcome.NO_DIFFERENCE, ""
    if adjusted <= SIGNIFICANCE and not verdict.low <= equal <= verdict.high:
        if far:
            outcome = _direction(verdict, verdict.effect - equal)
        else:
            reason = f"less than the minimum effect of {min_effect * 100:g} %"
    elif not verdict.low <= equal <= verdict.high:
        reason = "not beyond accident among so many tests, though its own interval leaves out equal"
    return replace(verdict, outcome=outcome, adjusted=adjusted, reason=verdict.reason or reason)


def _direction(verdict: Verdict, change: float) -> Outcome:
    measured = verdict.head or verdict.base
    lower = measured is None or measured.better is Direction.LOWER
    return Outcome.BETTER if (change < 0) == lower else Outcome.WORSE


def _one_sided(
    name: str, before: Measurement | None, after: Measurement | None
) -> Iterator[Verdict]:
    """Of what only one side has measured nobody can tell, and that is said."""
    if (before is None) != (after is None):
        side = "base" if before is None else "head"
        yield Verdict(name, Outcome.CANNOT_TELL, before, after, reason=f"the {side} has none")


def _latency(base: Evidence, head: Evidence, seed: int) -> Iterator[Verdict]:
    name = "latency_median"
    before, after = (item.record.measurements.get(name) for item in (base, head))
    if is_emulated(base.record) or is_emulated(head.record):
        return
    yield from _one_sided(name, before, after)
    if before is not None and after is not None:
        verdict = Verdict(name, Outcome.CANNOT_TELL, before, after)
        found = _ratio(verdict, base.medians, head.medians, _clock(base, head), seed)
        yield _widened(found, max(base.clock, head.clock), base.medians)


def _widened(verdict: Verdict, step: float, base: Floats) -> Verdict:
    """No interval is narrower than one step of the clock."""
    if verdict.low is None or verdict.high is None or not step:
        return verdict
    half = step / float(np.median(base))
    return replace(verdict, low=verdict.low - half, high=verdict.high + half)


def _clock(base: Evidence, head: Evidence) -> str:
    """Why the clock is too coarse for this difference; empty where it is not."""
    real = DeviceKind.REAL in (base.record.job.kind, head.record.job.kind)
    if real and 1 in (base.distinct, head.distinct):
        return "all samples of a side are equal: the clock is too coarse for this model"
    if len(base.medians) and len(head.medians):
        step = max(base.step, head.step)
        change = abs(float(np.median(head.medians) - np.median(base.medians)))
        if 0 < change <= step:
            return f"the medians differ by one step of the clock ({step:.3g} ms) at most"
    return ""


def _memory(base: Evidence, head: Evidence, seed: int) -> Iterator[Verdict]:
    name = "memory_peak"
    before, after = (item.record.measurements.get(name) for item in (base, head))
    yield from _one_sided(name, before, after)
    if before is None or after is None or not (len(base.peaks) and len(head.peaks)):
        return
    yield _ratio(
        Verdict(name, Outcome.CANNOT_TELL, before, after), base.peaks, head.peaks, "", seed
    )


def _ratio(
    verdict: Verdict,
    base: Floats,
    head: Floats,
    trouble: str,
    seed: int,
) -> Verdict:
    if min(len(base), len(head)) == 0:
        side = "base" if len(base) == 0 else "head"
        return replace(verdict, reason=f"the {side} has no trial with samples")
    if min(len(base), len(head)) < 2:
        return replace(verdict, reason="one trial says nothing of how processes differ")
    if min(base.min(), head.min()) <= 0:
        return replace(verdict, reason="a median is not above 0: the clock is too coarse")
    constant = np.ptp(base) == 0 == np.ptp(head)
    if constant and base[0] != head[0] and min(len(base), len(head)) < FEWEST_DRAWN:
        reason = "all trials of a side are equal, and too few to tell how processes differ"
        return replace(verdict, reason=trouble or reason)
    effect = median_ratio(base, head, seed=seed)
    outcome = Outcome.CANNOT_TELL if trouble else Outcome.NO_DIFFERENCE
    return _with(replace(verdict, outcome=outcome, reason=trouble), effect)


def _with(verdict: Verdict, effect: Effect) -> Verdict:
    return replace(verdict, effect=effect.value, low=effect.low, high=effect.high, p=effect.p)


def _accuracy(base: Evidence, head: Evidence) -> Iterator[Verdict]:
    before, after = (main_measurement(item.record.measurements) for item in (base, head))
    measured = before or after
    if measured is not None:
        yield from _one_sided(measured.name, before, after)
    if before is None or after is None:
        return
    if before.name != after.name:
        reason = f"{before.name} against {after.name}: the task is another"
        yield Verdict(after.name, Outcome.CANNOT_TELL, None, after, reason=reason)
        return
    verdict = Verdict(before.name, Outcome.CANNOT_TELL, before, after, unit="share")
    same = [
        tuple(item.record.facts.get(key) for key in ("dataset_sha256", "labels_sha256"))
        for item in (base, head)
    ]
    if None in same[0] or None in same[1]:
        yield replace(verdict, reason="which samples it was evaluated on is not kept")
    elif same[0] != same[1]:
        yield replace(verdict, reason="evaluated on other samples")
    elif before.name == "top1":
        if base.correct is None or head.correct is None or len(base.correct) != len(head.correct):
            yield replace(verdict, reason="which samples were right is not kept: run it again")
        else:
            effect = paired_shares(base.correct, head.correct)
            yield _with(replace(verdict, outcome=Outcome.NO_DIFFERENCE), effect)
    else:
        yield _by_intervals(verdict, before, after)


def _by_intervals(verdict: Verdict, before: Measurement, after: Measurement) -> Verdict:
    """A metric without a paired test: apart only where the two intervals are."""
    reason = "by both intervals: no test on the same samples for this metric"
    verdict = replace(verdict, effect=after.value - before.value, unit="difference", reason=reason)
    ends = (before.low, before.high, after.low, after.high)
    if None in ends:
        return replace(verdict, reason="without intervals")
    assert before.low is not None and before.high is not None
    assert after.low is not None and after.high is not None
    verdict = replace(verdict, low=after.low - before.high, high=after.high - before.low)
    if before.low <= after.high and after.low <= before.high:
        return replace(verdict, outcome=Outcome.NO_DIFFERENCE)
    return replace(verdict, outcome=_direction(verdict, after.value - before.value))


def _size(base: Evidence, head: Evidence) -> Iterator[Verdict]:
    before, after = (item.record.measurements.get("size") for item in (base, head))
    yield from _one_sided("size", before, after)
    if before is None or after is None or before.value <= 0:
        return
    verdict = Verdict("size", Outcome.NO_DIFFERENCE, before, after, after.value / before.value)
    if before.value != after.value:
        verdict = replace(verdict, outcome=_direction(verdict, after.value - before.value))
    yield verdict


def _delegation(base: Evidence, head: Evidence) -> Iterator[Verdict]:
    """Exact: the share of the file's operators that the accelerator ran."""
    before, after = _delegated(base), _delegated(head)
    yield from _one_sided("delegated", before, after)
    if before is None or after is None:
        return
    change = after.value - before.value
    verdict = Verdict(
        "delegated", Outcome.NO_DIFFERENCE, before, after, effect=change, unit="share"
    )
    if change:
        verdict = replace(verdict, outcome=_direction(verdict, change))
    yield verdict


def _delegated(item: Evidence) -> Measurement | None:
    facts = item.record.facts.get("delegated") or {}
    nodes, total = facts.get("nodes"), facts.get("total")
    if item.record.job.backend.accelerator == "cpu" or not total or nodes is None:
        return None
    share = min(1.0, float(nodes) / float(total))
    return Measurement("delegated", share, "share", Direction.HIGHER, int(total))
