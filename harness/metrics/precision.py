"""How precisely a job's median latency is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.metrics.observations import TrialObservation
from harness.stats import relative_half_width, trial_medians


def half_width(trials: Sequence[TrialObservation], seed: int) -> float | None:
    """Half the 95 % interval of the median latency, as a share of that median.

    Of trials that left statistics instead of samples, their medians stand for them, as in the
    measurement. ``None`` where it cannot be told: fewer than two trials (one says nothing of how
    processes differ), or one whose median is not known. Infinite where the median is 0 and the
    interval is not.
    """
    samples = []
    for trial in trials:
        values = trial.phases.get("measure", ())
        if len(values):
            samples.append(np.asarray(values, dtype=np.float64))
        elif trial.median_ns is not None:
            samples.append(np.array([trial.median_ns]))
    if len(samples) < 2 or len(samples) < len(trials):
        return None
    medians = trial_medians(samples)
    return 0.0 if np.ptp(medians) == 0 else relative_half_width(medians, seed=seed)
