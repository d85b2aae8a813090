"""Latency of one inference: steady state, start-up and first run."""

from __future__ import annotations

import numpy as np

from harness.domain import Direction, Measurement
from harness.metrics.observations import Observations
from harness.stats import hierarchical_median_interval

MS = 1e-6  # ns -> ms


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """Milliseconds: median with interval, mean, p5, p95, min, max; init, first, warm-up mean.

    The median is that of the trials' medians, its interval a two-level bootstrap; the
    percentiles are means over trials of each trial's own, so that a long trial weighs
    no more than a short one.
    """
    trials = [
        trial.phases["measure"].astype(np.float64) * MS
        for trial in observations.trials
        if len(trial.phases.get("measure", ()))
    ]
    if not trials:
        return ()
    runs, groups = sum(map(len, trials)), len(trials)
    value, low, high = hierarchical_median_interval(trials, seed=observations.policy.seed)

    def estimate(name: str, number: float) -> Measurement:
        return Measurement(name, number, "ms", Direction.LOWER, runs, groups=groups)

    found = [
        Measurement(
            "latency_median",
            value,
            "ms",
            Direction.LOWER,
            runs,
            # One process says nothing of how processes differ: no interval from one trial.
            low if groups > 1 else None,
            high if groups > 1 else None,
            groups,
        ),
        estimate("latency_mean", float(np.mean([np.mean(trial) for trial in trials]))),
        estimate("latency_p5", float(np.mean([np.percentile(trial, 5) for trial in trials]))),
        estimate("latency_p95", float(np.mean([np.percentile(trial, 95) for trial in trials]))),
        estimate("latency_min", float(min(np.min(trial) for trial in trials))),
        estimate("latency_max", float(max(np.max(trial) for trial in trials))),
    ]
    for name, phase in (("first_inference", "first"), ("warmup_mean", "warmup")):
        firsts = [
            float(np.mean(trial.phases[phase])) * MS
            for trial in observations.trials
            if len(trial.phases.get(phase, ()))
        ]
        if firsts:
            found.append(
                Measurement(
                    name,
                    float(np.median(firsts)),
                    "ms",
                    Direction.LOWER,
                    len(firsts),
                    min(firsts),
                    max(firsts),
                    len(firsts),
                )
            )
    starts = [
        (trial.facts["load_ns"] + trial.facts["init_ns"]) * MS
        for trial in observations.trials
        if "load_ns" in trial.facts and "init_ns" in trial.facts
    ]
    if starts:
        found.append(
            Measurement(
                "init",
                float(np.median(starts)),
                "ms",
                Direction.LOWER,
                len(starts),
                min(starts),
                max(starts),
                len(starts),
            )
        )
    return tuple(found)
