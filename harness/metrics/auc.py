"""Anomaly detection: how well the reconstruction error tells anomalous samples from normal."""

from __future__ import annotations

from harness.domain import Direction, Measurement, Task
from harness.metrics.observations import Observations
from harness.stats import auc_interval


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """``auc``: the area under the ROC curve of the samples' mean squared errors.

    The chance that an anomalous sample is reconstructed worse than a normal one; DeLong's
    interval on the logit scale.
    """
    errors, labels = observations.errors, observations.labels
    if observations.task is not Task.ANOMALY or errors is None or labels is None:
        return ()
    value, low, high = auc_interval(errors[labels == 1], errors[labels == 0])
    return (Measurement("auc", value, "area", Direction.HIGHER, len(labels), low, high),)
