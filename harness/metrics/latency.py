"""Latency of one inference: steady state, start-up and first run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.domain import Direction, Measurement
from harness.metrics.observations import Observations
from harness.stats import hierarchical_median_interval

MS = 1e-6  # ns -> ms
US = 1e-3  # us -> ms


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """Milliseconds: median with interval, mean, p5, p95, min, max; init, first, warm-up mean.

    The median is that of the trials' medians, its interval a two-level bootstrap; the
    percentiles are means over trials of each trial's own, so that a long trial weighs
    no more than a short one. Of trials that left statistics instead of samples, the interval
    is a bootstrap over trials alone, and what they do not tell is not estimated.
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
        ("init", _starts(observations)),
    ):
        if values:
            found.append(
                Measurement(
                    name,
                    float(np.median(values)),
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
    return _estimates(
        observations,
        trials,
        runs,
        {
            "latency_mean": float(np.mean([np.mean(trial) for trial in trials])),
            "latency_p5": float(np.mean([np.percentile(trial, 5) for trial in trials])),
            "latency_p95": float(np.mean([np.percentile(trial, 95) for trial in trials])),
            "latency_min": float(min(np.min(trial) for trial in trials)),
            "latency_max": float(max(np.max(trial) for trial in trials)),
        },
    )


def _summaries(observations: Observations) -> list[Measurement]:
    summaries = [trial.summary for trial in observations.trials if trial.summary]
    if not summaries:
        return []

    def told(name: str) -> list[float]:
        values = [item.get(name) for item in summaries]
        return [float(value) * US for value in values if value is not None]

    others = {}
    for name in ("mean", "p5", "p95"):
        if len(told(name)) == len(summaries):
            others[f"latency_{name}"] = float(np.mean(told(name)))
    others["latency_min"], others["latency_max"] = min(told("min")), max(told("max"))
    medians = told("median") if len(told("median")) == len(summaries) else []
    runs = sum(int(item["count"]) for item in summaries)
    return _estimates(observations, [np.array([median]) for median in medians], runs, others)


def _estimates(
    observations: Observations,
    trials: Sequence[NDArray[np.float64]],
    runs: int,
    others: Mapping[str, float],
) -> list[Measurement]:
    """The median of ``trials`` with its interval, and ``others`` beside it."""
    groups = len(trials) or len(observations.trials)
    found = []
    if trials:
        value, low, high = hierarchical_median_interval(trials, seed=observations.policy.seed)
        # One process says nothing of how processes differ: no interval from one trial.
        several = groups > 1
        found.append(
            Measurement(
                "latency_median",
                value,
                "ms",
                Direction.LOWER,
                runs,
                low if several else None,
                high if several else None,
                groups,
            )
        )
    found.extend(
        Measurement(name, number, "ms", Direction.LOWER, runs, groups=groups)
        for name, number in others.items()
    )
    return found


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


def _starts(observations: Observations) -> list[float]:
    return [
        (trial.facts["load_ns"] + trial.facts["init_ns"]) * MS
        for trial in observations.trials
        if "load_ns" in trial.facts and "init_ns" in trial.facts
    ]
