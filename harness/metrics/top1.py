"""Top-1 accuracy."""

from __future__ import annotations

import numpy as np

from harness.domain import Direction, Measurement
from harness.metrics.observations import Observations
from harness.stats import wilson_interval


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """``top1``: the share of samples whose largest output is their label, Wilson interval."""
    if observations.predictions is None or observations.labels is None:
        return ()
    n = len(observations.labels)
    correct = int(np.count_nonzero(observations.predictions == observations.labels))
    low, high = wilson_interval(correct, n)
    return (Measurement("top1", correct / n, "share", Direction.HIGHER, n, low, high),)
