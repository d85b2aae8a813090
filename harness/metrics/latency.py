"""Latency of one inference: steady state, start-up and first run."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.domain import Direction, Measurement
from harness.metrics.observations import Observations
from harness.stats import mean_interval, median, median_interval, trial_medians

MS = 1e-6  # ns -> ms
US = 1e-3  # us -> ms


#: What is said of a trial's samples, each the mean over trials of the trial's own.
_PERCENTILES = (5, 90, 95, 99)


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """Milliseconds, each with its interval where several trials tell how processes differ.

    ``latency_median`` is the median of the trials' medians, its interval a hierarchical bootstrap
    (``stats.trials``). ``latency_mean``, ``_p5``, ``_p90``, ``_p95``, ``_p99``, ``_std`` (standard
    deviation within a trial) and ``_mad`` (median absolute deviation from the trial's median, not
    scaled) are means over trials of each trial's own, so that a long trial weighs no more
    than a short one; their intervals are Student's t over trials. ``latency_min`` and ``_max`` are
    those of all samples. ``throughput`` is inferences per second one after another. ``init`` (both
    loading and allocating), ``load``, ``first_inference`` and ``warmup_mean`` are medians over
    trials, one value from each, with the least and the largest as ends.

    Of trials that left statistics instead of samples, the interval is over trials alone too, and
    what they do not tell is not estimated.
    """
    trials = [
        trial.phases["measure"].astype(np.float64) * MS
        for trial in observations.trials
        if len(trial.phases.get("measure", ()))
    ]
    found = _steady(observations, trials) if trials else _summaries(observations)
    if not found:
        return ()
    for name, values in (
        ("first_inference", _means(observations, "first")),
        ("warmup_mean", _means(observations, "warmup")),
        ("init", _starts(observations, "load_ns", "init_ns")),
        ("load", _starts(observations, "load_ns")),
    ):
        if values:
            found.append(
                Measurement(
                    name,
                    statistics.median(values),
                    "ms",
                    Direction.LOWER,
                    len(values),
                    min(values),
                    max(values),
                    len(values),
                )
            )
    return tuple(found)


def _steady(observations: Observations, trials: Sequence[NDArray[np.float64]]) -> list[Measurement]:
    runs = sum(map(len, trials))
    # One call for all trials where they are as long as each other: most are short.
    together = len({len(trial) for trial in trials}) == 1
    tables = [np.stack(trials)] if together else [trial[np.newaxis] for trial in trials]
    percentiles = np.concatenate(
        [np.percentile(table, _PERCENTILES, axis=1) for table in tables], axis=1
    )
    each = {
        "latency_mean": np.concatenate([table.mean(axis=1) for table in tables]),
        **{f"latency_p{percent}": percentiles[i] for i, percent in enumerate(_PERCENTILES)},
        "latency_std": np.concatenate([table.std(axis=1) for table in tables]),
        "latency_mad": np.array([_deviation(trial) for trial in trials]),
    }
    found = [_median(observations, trial_medians(trials), runs)]
    found += [_over_trials(name, values, runs) for name, values in each.items()]
    found += [
        Measurement(name, value, "ms", Direction.LOWER, runs, groups=len(trials))
        for name, value in (
            ("latency_min", float(min(trial.min() for trial in trials))),
            ("latency_max", float(max(trial.max() for trial in trials))),
        )
    ]
    found.extend(_throughput(each["latency_mean"], runs))
    return found


def _summaries(observations: Observations) -> list[Measurement]:
    summaries = [trial.summary for trial in observations.trials if trial.summary]
    if not summaries:
        return []

    def told(name: str) -> NDArray[np.float64]:
        values = [item.get(name) for item in summaries]
        return np.array([float(value) * US for value in values if value is not None])

    runs = sum(int(item["count"]) for item in summaries)
    found = []
    if len(medians := told("median")) == len(summaries):
        found.append(_median(observations, medians, runs))
    for name in ("mean", "p5", "p95", "std"):
        if len(values := told(name)) == len(summaries):
            found.append(_over_trials(f"latency_{name}", values, runs))
    found += [
        Measurement(name, value, "ms", Direction.LOWER, runs, groups=len(summaries))
        for name, value in (
            ("latency_min", float(told("min").min())),
            ("latency_max", float(told("max").max())),
        )
    ]
    if len(means := told("mean")) == len(summaries):
        found.extend(_throughput(means, runs))
    return found


def _median(observations: Observations, medians: NDArray[np.float64], runs: int) -> Measurement:
    value, low, high = median_interval(
        medians, seed=observations.policy.seed, step=observations.clock_resolution_ns * MS
    )
    return Measurement(
        "latency_median", value, "ms", Direction.LOWER, runs, _end(low), _end(high), len(medians)
    )


def _over_trials(name: str, values: NDArray[np.float64], runs: int) -> Measurement:
    value, low, high = mean_interval(values)
    # No latency is below 0, whatever the spread of a few trials says.
    low = max(low, min(0.0, value)) if math.isfinite(low) else low
    return Measurement(name, value, "ms", Direction.LOWER, runs, _end(low), _end(high), len(values))


def _throughput(means: NDArray[np.float64], runs: int) -> list[Measurement]:
    """Inferences per second, the mean over trials of runs over their time."""
    if not (means > 0).all():
        return []
    value, low, high = mean_interval(1000 / means)
    return [
        Measurement(
            "throughput", value, "1/s", Direction.HIGHER, runs, _end(low), _end(high), len(means)
        )
    ]


def _end(value: float) -> float | None:
    """An interval's end; one process says nothing of how processes differ, and has none."""
    return value if math.isfinite(value) else None


def _deviation(samples: NDArray[np.float64]) -> float:
    return median(np.abs(samples - median(samples)))


def _means(observations: Observations, phase: str) -> list[float]:
    """The mean of a phase before the measured runs, of each trial that tells."""
    found = []
    for trial in observations.trials:
        if len(values := trial.phases.get(phase, ())):
            found.append(float(np.mean(values)) * MS)
        elif trial.summary:
            told = trial.summary["first_inference"]
            found.append((told if phase == "first" else trial.summary["warmup"]["mean"]) * US)
    return found


def _starts(observations: Observations, *parts: str) -> list[float]:
    return [
        sum(trial.facts[part] for part in parts) * MS
        for trial in observations.trials
        if all(part in trial.facts for part in parts)
    ]
