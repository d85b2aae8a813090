"""Which classes are taken for which."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.domain import Direction, Measurement
from harness.metrics.observations import Observations
from harness.stats import mean_of_proportions_interval

#: A matrix of more classes than this is too large to keep, and nobody could read it.
MOST_CLASSES = 1024


def matrix(observations: Observations) -> NDArray[np.int64] | None:
    """Counts (classes, classes): row the label, column what was predicted.

    Of samples in a classification, of pixels in a segmentation; ``None`` elsewhere, and for
    more than ``MOST_CLASSES`` classes.
    """
    if observations.pixels is not None:
        return observations.pixels.astype(np.int64)
    predictions, labels = observations.predictions, observations.labels
    if predictions is None or labels is None:
        return None
    classes = max(observations.classes, int(predictions.max()) + 1, int(labels.max()) + 1)
    return count(labels, predictions, classes) if classes <= MOST_CLASSES else None


def count(labels: NDArray[Any], predictions: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """The matrix of class indices (n,) below ``classes``."""
    places = labels.astype(np.int64) * classes + predictions.astype(np.int64)
    found: NDArray[np.int64] = np.bincount(places, minlength=classes * classes)
    return found.reshape(classes, classes)


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """``balanced_accuracy``: the mean over classes of the share that was found.

    Over the classes that have samples; the interval puts the classes' Wilson intervals
    together. The matrix itself is kept with the job, see :func:`matrix`.
    """
    predictions, labels = observations.predictions, observations.labels
    if predictions is None or labels is None:
        return ()
    there, place, totals = np.unique(labels, return_inverse=True, return_counts=True)
    right = np.bincount(place[predictions == labels], minlength=len(there))
    value, low, high = mean_of_proportions_interval(right.tolist(), totals.tolist())
    n = len(labels)
    return (Measurement("balanced_accuracy", value, "share", Direction.HIGHER, n, low, high),)
