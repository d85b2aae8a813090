"""Why the level of a series changed: what changed with it, and what a canary did meanwhile."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy.stats import mannwhitneyu

from harness.decide.conditions import Conditions, differences

_LEVEL = 0.05


class CauseKind(StrEnum):
    """What a change is put down to; the value is its name in all output."""

    MODEL = "model changed"
    RUNTIME = "runtime changed"
    DEVICE = "device or firmware changed"
    MEASURING = "measured otherwise"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that a change is put down to, with the evidence in words."""

    kind: CauseKind
    evidence: str


class Moved(StrEnum):
    """What a canary did between the runs before a change and those after it."""

    SHIFTED = "shifted"
    STEADY = "steady"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True, slots=True)
class Canary:
    """A canary in the runs of two segments; ``effect`` and ``rest`` are shares of the value before.

    ``rest`` is what is left of the change when the canary's part is taken out, where that is
    not less than what counts.
    """

    label: str
    moved: Moved
    effect: float | None = None
    rest: float | None = None
    why: str = ""

    @classmethod
    def over(
        cls,
        label: str,
        before: Sequence[float],
        after: Sequence[float],
        *,
        changed: Collection[str],
        effect: float | None,
        least: float,
    ) -> Canary:
        """Hold a canary's values before a change of ``effect`` against those after it.

        A Mann-Whitney test over runs; it shifted where that is sure, in the direction of the
        change and by at least ``least``. ``changed`` are the files that it was.
        """
        if len(changed) > 1:
            return cls(label, Moved.CANNOT_TELL, why="the canary's own file changed")
        if len(before) < 2 or len(after) < 2 or not effect:
            return cls(label, Moved.CANNOT_TELL, why="the canary has too few runs there")
        middles = float(np.median(before)), float(np.median(after))
        own = middles[1] / middles[0] - 1 if middles[0] else 0.0
        rest = (1 + effect) / (1 + own) - 1 if own > -1 else None
        if rest is not None and abs(rest) < max(least, 1e-9):
            rest = None
        if own == 0 or own * effect < 0 or abs(own) < least:
            return cls(label, Moved.STEADY, own, rest)
        # With the fewest runs no order of them is improbable enough: then its size alone counts.
        chance = float(mannwhitneyu(before, after).pvalue)
        if chance <= _LEVEL:
            return cls(label, Moved.SHIFTED, own, rest)
        if abs(own) < abs(effect) / 3:
            return cls(label, Moved.STEADY, own, rest)
        return cls(label, Moved.CANNOT_TELL, own, rest, "what the canary did may be chance")

    def told(self) -> str:
        """In words."""
        by = "" if self.effect is None else f" ({self.effect * 100:+.1f} %)"
        if self.moved is Moved.CANNOT_TELL:
            return self.why + by
        return f"the canary {self.label} shifted too{by}" if self.moved is Moved.SHIFTED else (
            f"the canary {self.label} did not shift{by}"
        )  # fmt: skip


def attribute(
    points: Sequence[Conditions], at: int, canary: Canary | None, *, itself: bool = False
) -> tuple[Cause, ...]:
    """The causes of a change between the points ``at - 1`` and ``at``, one at least.

    What is recorded as changed there counts; where nothing is, what changed one run earlier or
    later. A canary that shifted too clears the model but for what it leaves over, and one
    that did not clears the device. ``itself``: the series is a canary's, whose file never
    changes, so that what is left is its device.
    """
    for step, word in ((0, ""), (-1, " (one run earlier)"), (1, " (one run later)")):
        if not 0 < at + step < len(points):
            continue
        changed = _changed(points[at + step - 1], points[at + step], word)
        if changed:
            break
    told = f"; {canary.told()}" if canary is not None else ""
    if canary is not None and canary.moved is Moved.SHIFTED:
        return _of_the_device(changed, canary)
    if canary is not None and canary.moved is Moved.STEADY:
        changed = [item for item in changed if item.kind is not CauseKind.DEVICE]
    if not changed and itself:
        words = "the canary's file is the same, and nothing that is recorded changed"
        return (Cause(CauseKind.DEVICE, words),)
    if not changed:
        return (Cause(CauseKind.UNEXPLAINED, f"nothing that is recorded changed{told}"),)
    if len(changed) > 1 and canary is None and not itself:
        told = "; which of these it was cannot be told"
    return (*changed[:-1], Cause(changed[-1].kind, changed[-1].evidence + told))


def _of_the_device(changed: Sequence[Cause], canary: Canary) -> tuple[Cause, ...]:
    """The causes where a canary shifted too: what it shares with the series."""
    shared = [item for item in changed if item.kind is not CauseKind.MODEL]
    found = shared or [Cause(CauseKind.DEVICE, "nothing that is recorded of the device changed")]
    found = [*found[:-1], Cause(found[-1].kind, f"{found[-1].evidence}; {canary.told()}")]
    model = [item for item in changed if item.kind is CauseKind.MODEL]
    if model and canary.rest is not None:
        left = f"{model[0].evidence}; {canary.rest * 100:+.1f} % beyond the canary"
        found.append(Cause(CauseKind.MODEL, left))
    return tuple(found)


def _changed(before: Conditions, after: Conditions, word: str) -> list[Cause]:
    found = []
    if before.variant != after.variant:
        evidence = f"file {before.variant[:8] or '?'}, then {after.variant[:8] or '?'}{word}"
        found.append(Cause(CauseKind.MODEL, evidence))
    for kind, one, other in (
        (CauseKind.RUNTIME, before.runtime, after.runtime),
        (CauseKind.DEVICE, before.device, after.device),
        (CauseKind.MEASURING, before.measuring, after.measuring),
    ):
        evidence = "; ".join(differences(one, other))
        if evidence:
            found.append(Cause(kind, evidence + word))
    return found
