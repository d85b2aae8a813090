"""Top-5 accuracy."""

from __future__ import annotations

import numpy as np

from harness.domain import Direction, Measurement
from harness.metrics.observations import Observations
from harness.stats import wilson_interval

#: Classes that are kept of each sample; with no more classes than this every one is right.
K = 5


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """``top5``: the share of samples whose label is among the five largest outputs, Wilson.

    Of equal outputs the lower class counts as the larger one, as for ``top1``. Only where
    there are more than five classes.
    """
    kept, labels = observations.top_classes, observations.labels
    if kept is None or labels is None or observations.classes <= K:
        return ()
    n = len(labels)
    correct = int(np.count_nonzero((kept[:, :K] == labels[:, None]).any(axis=1)))
    low, high = wilson_interval(correct, n)
    return (Measurement("top5", correct / n, "share", Direction.HIGHER, n, low, high),)
