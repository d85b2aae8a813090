"""What the checks look at: a job's observations, and what several of them derive from these."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from harness.metrics.checks.conditions import Conditions, of_trial
from harness.metrics.observations import Observations, TrialObservation
from harness.stats import (
    Change,
    find_change,
    granularity,
    heterogeneity_chance,
    level_error,
    short_trend,
    two_groups,
)

#: Changes of the level within a trial that are smaller than this share matter to nobody: they are
#: of the size by which fresh processes of one program differ anyway.
LEAST_CHANGE = 0.03

#: The same over trials, which differ from each other: 5 % is about three times by how much.
LEAST_CHANGE_OF_TRIALS = 0.05

#: Readings differ by whole steps of the clock, so that one value appears as two or three:
#: what differs by fewer steps than this does not differ.
_STEPS = 3

#: A chance as small as this is none: a trend over trials.
_CHANCE = 0.005

#: If the noise within trials makes their medians differ so more often than this, that tells
#: nothing of the trials.
_NOISE_CHANCE = 0.001

#: Share of the samples, or trials, of the smaller of two modes: fewer are outliers.
LEAST_SHARE = 0.1

#: Modes lie further apart than this ratio.
LEAST_RATIO = 1.05


@dataclass(frozen=True, slots=True)
class Slope:
    """How the medians of trials went: ``ratio`` of last to first, or of the levels.

    ``begin`` is the first trial, from 0, on another level, ``None`` for a trend.
    """

    ratio: float
    begin: int | None


class Seen:
    """One job's observations; what is derived from them is computed when it is first asked for."""

    def __init__(self, observations: Observations) -> None:
        self.observations = observations

    @cached_property
    def medians(self) -> list[float]:
        """The median of each trial that tells one, in ns, in the order of the trials."""
        found = (trial.median_ns for trial in self.observations.trials)
        return [median for median in found if median is not None]

    @cached_property
    def timed(self) -> list[TrialObservation]:
        """The trials that have samples."""
        return [trial for trial in self.observations.trials if len(samples(trial))]

    @cached_property
    def steps_ns(self) -> list[float | None]:
        """The step of the clock that each trial of ``timed`` shows, see ``granularity``."""
        return [granularity(samples(trial)) for trial in self.timed]

    @cached_property
    def clock_ns(self) -> float:
        """The step of the clock: what the device tells, or what samples show where that is more."""
        shown = (step for step in self.steps_ns if step is not None)
        return max(self.observations.clock_resolution_ns, *shown, 0.0)

    def visible(self, one_ns: float, other_ns: float) -> bool:
        """Whether two durations differ by more than the clock's steps."""
        return abs(one_ns - other_ns) > _STEPS * self.clock_ns

    @cached_property
    def changes(self) -> list[Change | None]:
        """How the level changed within each trial of ``timed``."""
        found = []
        for trial in self.timed:
            change = find_change(samples(trial), least=LEAST_CHANGE)
            median = trial.median_ns or 0.0
            if change is not None and not self.visible(median, median * change.ratio):
                change = None
            found.append(change)
        return found

    @cached_property
    def conditions(self) -> list[Conditions]:
        """How the device was around each trial, of all trials."""
        return [of_trial(trial) for trial in self.observations.trials]

    @cached_property
    def level(self) -> dict[int, float]:
        """The medians of the trials within which nothing changed, by their place from 0."""
        changed = {
            id(trial)
            for trial, change in zip(self.timed, self.changes, strict=True)
            if change is not None
        }
        return {
            index: median
            for index, trial in enumerate(self.observations.trials)
            if id(trial) not in changed and (median := trial.median_ns)
        }

    @cached_property
    def noise_explains(self) -> bool:
        """Whether what varies within trials makes their medians differ as they do."""
        found = [level_error(samples(trial)) for trial in self.timed]
        known = [error for error in found if error is not None]
        if len(known) < len(self.medians) or not min(self.medians, default=0.0) > 0:
            return False  # too few samples to tell
        # One noise for all: the error of a single trial is known too badly to weigh it by.
        error = math.sqrt(sum(item * item for item in known) / len(known))
        chance = heterogeneity_chance(np.log(self.medians).tolist(), [error] * len(known))
        return chance > _NOISE_CHANCE

    @cached_property
    def groups(self) -> NDArray[np.bool_] | None:
        """Which trials of ``level`` are the slower ones of two groups, or ``None``."""
        medians = np.array(list(self.level.values()))
        upper = two_groups(medians, least_ratio=LEAST_RATIO, least_share=LEAST_SHARE)
        if upper is None or self.noise_explains:
            return None
        if not self.visible(medians[upper].min(), medians[~upper].max()):
            return None
        return upper

    @cached_property
    def over_trials(self) -> Slope | None:
        """How the medians of ``level`` changed with time."""
        medians, upper = np.array(list(self.level.values())), self.groups
        if upper is not None:
            turns = np.flatnonzero(np.diff(upper.astype(np.int8)))
            if len(turns) > 1:  # they come and go
                return None
            place = int(turns[0]) + 1
            ratio = float(np.median(medians[place:]) / np.median(medians[:place]))
            return Slope(ratio, list(self.level)[place])
        found = short_trend(medians, least=LEAST_CHANGE_OF_TRIALS, chance=_CHANCE)
        if found is None or self.noise_explains:
            return None
        if not self.visible(medians[0], medians[0] * found):
            return None
        return Slope(found, None)


def samples(trial: TrialObservation) -> NDArray[np.int64]:
    """The measured runs of a trial, ns; empty where it has none."""
    return trial.phases.get("measure", _NONE)


_NONE = np.empty(0, dtype=np.int64)
