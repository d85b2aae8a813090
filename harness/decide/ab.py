"""Two variants measured in turns: whether the answer is clear, looked at after every round."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from harness.decide.evidence import MS, trial_median
from harness.domain import DeviceKind
from harness.stats.sequential import t_confidence_sequence
from harness.stats.trials import median_interval
from harness.store import JobRecord, TrialRecord

#: Relative differences of the latency that are of no account, unless told otherwise.
MIN_EFFECT = 0.02

#: No answer is given before this many rounds, unless told otherwise.
MIN_ROUNDS = 3

#: Variance of the effects, in standard deviations of a round's difference, that the sequence of
#: intervals is tuned for: variants mostly differ by more than rounds do. With 2 % of noise per
#: trial a slowdown of 5 % takes 6 rounds in the median, and one of 12 % takes 4, the fewest
#: after which this sequence has an interval at all.
PRIOR = 3.0

Floats = NDArray[np.float64]


class Answer(StrEnum):
    """What became of B against A; the value is its name in all output.

    ``same`` is more than that no difference was shown: it is shown that there is none that
    matters.
    """

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "no difference that matters"
    OPEN = "cannot tell yet"


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known after ``rounds``: the ratio of latencies B / A with its interval.

    The ratio is the geometric mean of each round's own. The interval holds it with 95 %
    however often one looks (``stats.t_confidence_sequence``), and is infinite where there are
    too few rounds for any. ``reason`` says why it is open.
    """

    answer: Answer
    rounds: int
    ratio: float = math.nan
    low: float = 0.0
    high: float = math.inf
    reason: str = ""

    @property
    def clear(self) -> bool:
        """Whether nothing more need be measured."""
        return self.answer is not Answer.OPEN


def standing(
    a: Floats,
    b: Floats,
    *,
    min_effect: float = MIN_EFFECT,
    min_rounds: int = MIN_ROUNDS,
    step: float = 0.0,
) -> Standing:
    """Judge B against A by the medians of their trials, (rounds,) each, in one unit above 0.

    Entries of one place are of one round, so what drifts from round to round drifts for both.
    B differs where the interval of the ratio does not hold 1, and the ratio itself is at least
    ``min_effect`` (0.02: 2 %) away from 1; there is no difference that matters where the
    interval lies within 1 / (1 + min_effect) and 1 + min_effect. All else is open, and so is
    everything before ``min_rounds``. ``step`` is the clock's, in the medians' unit: no interval
    is narrower than a reading can be off.

    Raises ``ValueError`` for lists of different lengths.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        raise ValueError("a round has a trial of A and one of B")
    rounds = len(a)
    if rounds == 0:
        return Standing(Answer.OPEN, 0, reason="no round has ended")
    if min(a.min(), b.min()) <= 0:
        return Standing(
            Answer.OPEN, rounds, reason="a median is not above 0: the clock is too coarse"
        )
    mean, low, high = t_confidence_sequence(np.log(b) - np.log(a), prior=PRIOR)
    off = step / 2 * (1 / float(np.median(a)) + 1 / float(np.median(b)))
    low, high = min(low, mean - off), max(high, mean + off)
    found = Standing(Answer.OPEN, rounds, math.exp(mean), math.exp(low), _exp(high))
    if math.isinf(high):
        return replace(found, reason="too few rounds for an interval")
    if rounds < min_rounds:
        return replace(found, reason=f"{min_rounds} rounds are the least")
    matters = math.log1p(min_effect)
    apart = low > 0 or high < 0
    if apart and abs(mean) >= matters:
        return replace(found, answer=Answer.SLOWER if mean > 0 else Answer.FASTER)
    if -matters < low and high < matters:
        return replace(found, answer=Answer.SAME)
    if apart:
        why = f"there is a difference, maybe one that matters ({min_effect * 100:g} %)"
    elif abs(mean) >= matters:
        why = "the difference may be chance"
    else:
        why = f"a difference that matters ({min_effect * 100:g} %) is not ruled out"
    return replace(found, reason=why)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf


@dataclass(frozen=True, slots=True)
class Reading:
    """What one latency trial tells: ``median`` and ``step`` in ms, and how long it took, s.

    ``step`` is the clock's or the smallest difference between two samples, whichever is
    larger. ``coarse``: many samples, and all of them equal.
    """

    median: float
    step: float
    coarse: bool
    seconds: float


def reading(trial: TrialRecord) -> Reading | None:
    """Of a trial with its samples, or with a summary alone; ``None`` where it has neither."""
    median = trial_median(trial)
    if median is None:
        return None
    seen = np.unique(trial.phases.get("measure", (None, np.empty(0)))[1])
    clock = trial.hello.get("clock") or {}
    step = float(clock.get("resolution_ns") or 0) * MS
    if len(seen) > 1:
        step = max(step, float(np.diff(seen).min()) * MS)
    seconds = trial.facts.get("trial_seconds")
    if not (isinstance(seconds, (int, float)) and math.isfinite(seconds)):
        seconds = 0.0
    return Reading(median, step, len(seen) == 1, float(seconds))


def standing_of(
    a: list[Reading],
    b: list[Reading],
    kind: DeviceKind,
    *,
    min_effect: float = MIN_EFFECT,
    min_rounds: int = MIN_ROUNDS,
) -> Standing:
    """``standing`` of the rounds that both have; see there.

    Open as well where all samples of a real device's side are equal: its clock is too coarse.
    """
    rounds = min(len(a), len(b))
    a, b = a[:rounds], b[:rounds]
    # One trial's samples may all lie far apart; the smallest step that was seen is the clock's.
    step = max((min(item.step for item in side) for side in (a, b) if side), default=0.0)
    found = standing(
        np.array([item.median for item in a]),
        np.array([item.median for item in b]),
        min_effect=min_effect,
        min_rounds=min_rounds,
        step=step,
    )
    stuck = any(side and all(item.coarse for item in side) for side in (a, b))
    if kind is DeviceKind.REAL and stuck:
        why = "all samples of a side are equal: the clock is too coarse for this model"
        return replace(found, answer=Answer.OPEN, reason=why)
    return found


@dataclass(frozen=True, slots=True)
class Measured:
    """One side of the comparison: its job, and the medians of its trials in ms."""

    record: JobRecord
    medians: tuple[float, ...]

    @property
    def median(self) -> tuple[float, float, float] | None:
        """The median with its 95 % interval, ms; infinite ends for one trial."""
        if not self.medians:
            return None
        return median_interval(np.array(self.medians))


@dataclass(frozen=True, slots=True)
class Contest:
    """All of a comparison of ``a`` and ``b`` that is kept in ``run``.

    ``ended`` is what ended it: ``answer``, ``max_rounds``, ``max_minutes``, ``interrupted`` or
    ``failed``, with the cause in ``failure``. ``seconds`` is how long it measured; of a modelled
    device by its own clock. ``same`` says that A and B are one file on one backend.
    """

    run: str
    a: Measured
    b: Measured
    standing: Standing
    min_effect: float
    seconds: float
    ended: str
    failure: str = ""
    same: bool = False

    @property
    def kind(self) -> DeviceKind:
        """What stands behind the numbers."""
        return self.a.record.job.kind

    @property
    def exit_code(self) -> int:
        """0 whatever the answer is, 3 where a side failed, 130 interrupted."""
        return {"failed": 3, "interrupted": 130}.get(self.ended, 0)
