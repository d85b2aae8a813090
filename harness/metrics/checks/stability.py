"""Whether a latency stood still while it was measured."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from harness.domain import Advisory, AdvisoryKind
from harness.metrics.checks import words
from harness.metrics.checks.seen import LEAST_RATIO, LEAST_SHARE, Seen, samples
from harness.metrics.checks.throttling import explains, explains_trials
from harness.metrics.observations import TrialObservation
from harness.stats import Change, two_modes


def drifting(seen: Seen) -> Iterator[Advisory]:
    """Levels that changed, within trials or over them, and not because the device throttled."""
    found = [
        (trial, change)
        for trial, change in zip(seen.timed, seen.changes, strict=True)
        if change is not None and not explains(trial, change)
    ]
    if found:
        trial, change = max(found, key=lambda item: abs(math.log(item[1].ratio)))
        most = "up to " if len(found) > 1 else ""
        yield Advisory(
            AdvisoryKind.DRIFTING,
            f"latency {words.rose(change.ratio)} by {most}{words.percent(change.ratio)} "
            f"{when(trial, change)} in {words.some(len(found), len(seen.timed))}",
        )
    slope, count = seen.over_trials, len(seen.medians)
    if slope is not None and not explains_trials(seen):
        since = (
            f"from the first to the last of {count} trials"
            if slope.begin is None
            else f"from trial {slope.begin + 1} of {count} on"
        )
        yield Advisory(
            AdvisoryKind.DRIFTING,
            f"latency {words.rose(slope.ratio)} by {words.percent(slope.ratio)} {since}",
        )


def when(trial: TrialObservation, change: Change) -> str:
    """From when on, within a trial."""
    if change.begin is None:
        return "steadily"
    at = trial.at.get("measure")
    if at is not None and len(at) == len(samples(trial)):
        begin = float(at[change.begin] - at[0]) / 1e9
    else:
        begin = float(samples(trial)[: change.begin].sum()) / 1e9
    return f"from second {words.seconds(begin)} on"


def two_states(seen: Seen) -> Iterator[Advisory]:
    """Samples of a trial, or trials, that fall in two groups."""
    found = []
    for trial, change in zip(seen.timed, seen.changes, strict=True):
        if change is not None:
            continue  # the groups are before and after
        groups = two_modes(samples(trial), least_ratio=LEAST_RATIO, least_share=LEAST_SHARE)
        median = trial.median_ns or 0.0
        if groups and seen.visible(median, median * groups.ratio):
            found.append(groups)
    if found:
        largest = max(found, key=lambda groups: groups.ratio)
        share = max(5, 5 * round(20 * largest.upper))
        yield Advisory(
            AdvisoryKind.TWO_MODES,
            f"about {share} % of the samples take {words.percent(largest.ratio)} longer "
            f"in {words.some(len(found), len(seen.timed))}",
        )
    if seen.groups is not None and seen.over_trials is None:
        medians = np.array(list(seen.level.values()))
        ratio = float(np.median(medians[seen.groups]) / np.median(medians[~seen.groups]))
        yield Advisory(
            AdvisoryKind.TWO_MODES,
            f"{words.some(int(seen.groups.sum()), len(medians))} take {words.percent(ratio)} "
            "longer than the others",
        )
