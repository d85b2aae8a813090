"""Whether jobs of a run can be told apart in what is to be small, as ``harness compare`` tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness.decide.candidates import GOALS
from harness.decide.compare import MIN_EFFECT, SIGNIFICANCE
from harness.decide.evidence import Evidence, evidence
from harness.decide.recommend import Difference, Tell
from harness.stats import Effect, benjamini_hochberg, median_ratio
from harness.store import JobRecord, Store


def telling(store: Store) -> Tell:
    """Compares jobs of this store; see ``Tell``.

    Latency and memory over trials, corrected for the number of comparisons, and apart only by
    the minimum effect of ``harness compare``; sizes exactly.
    """
    kept: dict[int, Evidence] = {}

    def of(record: JobRecord) -> Evidence:
        if record.id not in kept:
            kept[record.id] = evidence(store, record)
        return kept[record.id]

    def tell(least: JobRecord, others: Sequence[JobRecord], goal: str) -> list[Difference]:
        if goal == "size":
            return [_exact(least, other) for other in others]
        found = [_ratio(of(least), of(other), goal) for other in others]
        chances = benjamini_hochberg(np.array([np.nan if e is None else e.p for e, _ in found]))
        return [
            Difference(False, why=why) if effect is None else _shown(effect, float(p), why)
            for (effect, why), p in zip(found, chances, strict=True)
        ]

    return tell


def _exact(least: JobRecord, other: JobRecord) -> Difference:
    one, two = (item.measurements[GOALS["size"]].value for item in (least, other))
    ratio = two / one if one else None
    return Difference(one != two, ratio, ratio, ratio)


def _ratio(least: Evidence, other: Evidence, goal: str) -> tuple[Effect | None, str]:
    """The effect, or why there is none; with an effect, why it is no difference all the same."""
    one, two = _values(least, goal), _values(other, goal)
    if min(len(one), len(two)) < 2:
        return None, "one trial says nothing of how processes differ"
    if min(one.min(), two.min()) <= 0:
        return None, "a value is not above 0"
    step = max(least.step, other.step)
    if goal == "latency" and abs(float(np.median(two) - np.median(one))) <= step:
        return median_ratio(one, two), f"the clock's step is {step:.3g} ms"
    return median_ratio(one, two), ""


def _values(item: Evidence, goal: str) -> NDArray[np.float64]:
    return item.medians if goal == "latency" else item.peaks


def _shown(effect: Effect, chance: float, why: str) -> Difference:
    found = Difference(False, effect.value, effect.low, effect.high, why)
    if chance > SIGNIFICANCE or effect.low <= 1 <= effect.high or why:
        return found
    if effect.value < 1 + MIN_EFFECT:
        return replace(found, why=f"less than {MIN_EFFECT:.0%}")
    return replace(found, shown=True)
