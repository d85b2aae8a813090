"""Devices that change their clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from harness.domain import Advisory, AdvisoryKind
from harness.metrics.checks import words
from harness.metrics.checks.conditions import of_trial
from harness.metrics.checks.seen import Seen
from harness.metrics.observations import TrialObservation
from harness.stats import Change

#: A clock that differs by more than this share has changed: readings of a steady one, averaged
#: over cores, jitter by 1 to 2 %.
CLOCK_CHANGE = 0.05

#: Celsius from which on a device may lower its clock. A Raspberry Pi does from 80 °C on
#: (raspberrypi.com documentation, "frequency management and thermal control"); phones begin at or
#: below that.
HOT_C = 80.0


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a slowdown is throttling, in words; ``clock`` says whether the clock is known to fall."""

    text: str
    clock: bool


def said(seen: Seen) -> Iterator[Advisory]:
    """What the device said of itself before and after its trials."""
    trials = seen.observations.trials
    status = count = 0
    for trial in trials:
        readiness = trial.facts.get("readiness") or {}
        states = [state for when in ("before", "after") if (state := readiness.get(when))]
        highest = max((state.get("thermal_status") or 0 for state in states), default=0)
        status = max(status, highest)
        count += highest > 0 or any(state.get("throttled") for state in states)
    if count:
        who = f"Android's thermal status was {status}" if status else "the board said so"
        yield Advisory(
            AdvisoryKind.THROTTLED,
            f"{who}, before or after {count} of {len(trials)} trials",
        )


def measured(seen: Seen) -> Iterator[Advisory]:
    """Slower, and the clock fell or the device was hot: within trials, or over them."""
    found = _within_trials(seen)
    if found:
        ratio, cause = max(found, key=lambda item: item[0])
        most = "up to " if len(found) > 1 else ""
        yield Advisory(
            AdvisoryKind.THROTTLED,
            f"latency rose by {most}{words.percent(ratio)} within "
            f"{words.some(len(found), len(seen.timed))}: {cause.text}",
        )
    if seen.over_trials is not None and (over := explains_trials(seen)):
        yield Advisory(
            AdvisoryKind.THROTTLED,
            f"latency rose by {words.percent(seen.over_trials.ratio)} over "
            f"{len(seen.medians)} trials: {over.text}",
        )


def frequency(seen: Seen) -> Iterator[Advisory]:
    """A clock that was not the same throughout, where throttling does not say it already."""
    each = [found.mhz for found in seen.conditions if found.mhz]
    known = [mhz for pair in each for mhz in pair]
    if not known or max(known) <= min(known) * (1 + CLOCK_CHANGE):
        return
    told = [cause for _, cause in _within_trials(seen)]
    if (over := explains_trials(seen)) is not None:
        told.append(over)
    if any(cause.clock for cause in told):
        return
    within = any(max(pair) > min(pair) * (1 + CLOCK_CHANGE) for pair in each)
    yield Advisory(
        AdvisoryKind.FREQUENCY_CHANGED,
        f"the clock was {words.mhz(min(known))} to {words.mhz(max(known))}, "
        + ("also within a trial" if within else "different between trials"),
    )


def _within_trials(seen: Seen) -> list[tuple[float, Cause]]:
    """How much slower each trial became that throttled, and why."""
    return [
        (change.ratio, cause)
        for trial, change in zip(seen.timed, seen.changes, strict=True)
        if change is not None and (cause := explains(trial, change)) is not None
    ]


def explains(trial: TrialObservation, change: Change) -> Cause | None:
    """Why a change within a trial is throttling, or ``None``."""
    if change.ratio < 1:
        return None
    found = of_trial(trial)
    return _cause(found.before_mhz, found.after_mhz, found.celsius)


def explains_trials(seen: Seen) -> Cause | None:
    """Why a change over trials is throttling, or ``None``."""
    slope = seen.over_trials
    if slope is None or slope.ratio < 1:
        return None
    begin = slope.begin or len(seen.conditions) // 2
    early, late = (
        [mhz for found in part for mhz in found.mhz]
        for part in (seen.conditions[:begin], seen.conditions[begin:])
    )
    celsius = [found.celsius for found in seen.conditions[begin:] if found.celsius is not None]
    return _cause(
        float(np.median(early)) if early else None,
        float(np.median(late)) if late else None,
        max(celsius, default=None),
    )


def _cause(
    before_mhz: float | None, after_mhz: float | None, celsius: float | None
) -> Cause | None:
    hot = celsius is not None and celsius >= HOT_C
    heat = f" at {celsius:.0f} °C" if hot else ""
    if before_mhz and after_mhz and after_mhz < before_mhz * (1 - CLOCK_CHANGE):
        fall = f"the clock fell from {words.mhz(before_mhz)} to {words.mhz(after_mhz)}"
        return Cause(fall + heat, clock=True)
    return Cause(f"the device was{heat}", clock=False) if hot else None
