"""Segmentation: overlap of predicted and labelled areas, class by class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.domain import Direction, Measurement
from harness.metrics.observations import Observations
from harness.stats import bootstrap_sums


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """``miou`` and ``pixel_accuracy``, with intervals from a bootstrap over images.

    Intersection over union of each class over all pixels that count, as in Pascal VOC (M.
    Everingham et al., "The Pascal Visual Object Classes Challenge: A Retrospective", IJCV
    111 (2015)); their mean over the classes that occur in labels or predictions.
    """
    overlaps = observations.overlaps
    if overlaps is None:
        return ()
    images, _, classes = overlaps.shape
    columns = overlaps.reshape(images, 3 * classes).astype(np.float64)
    seed, found = observations.policy.seed, []
    for name, statistic in (("miou", mean_iou), ("pixel_accuracy", _pixel_accuracy)):
        value, low, high = bootstrap_sums(columns, statistic, seed=seed)
        ends = (low, high) if images > 1 else (None, None)
        found.append(Measurement(name, value, "share", Direction.HIGHER, images, *ends))
    return tuple(found)


def mean_iou(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean IoU of each row: pixels right, predicted and labelled, by class (b, 3 * c)."""
    right, predicted, labelled = np.split(sums, 3, axis=1)
    union = predicted + labelled - right
    there = union > 0
    shares = np.where(there, right / np.where(there, union, 1), 0)
    count = there.sum(axis=1)
    return np.where(count > 0, shares.sum(axis=1) / np.maximum(count, 1), np.nan)


def _pixel_accuracy(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    right, _, labelled = np.split(sums, 3, axis=1)
    pixels = labelled.sum(axis=1)
    return np.where(pixels > 0, right.sum(axis=1) / np.maximum(pixels, 1), np.nan)
