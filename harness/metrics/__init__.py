"""From raw observations of one job to its measurements and advisories.

A new metric is one file with a ``measure(observations)`` function and one line in
``METRICS``. A metric that has nothing to say of a job returns an empty tuple.
"""

from collections.abc import Mapping

from harness.domain import Measurement
from harness.metrics import (
    agreement,
    auc,
    confusion,
    energy,
    latency,
    mean_average_precision,
    mean_iou,
    mean_squared_error,
    memory,
    scenarios,
    size,
    sustained,
    top1,
    topk,
)
from harness.metrics.checks import advisories
from harness.metrics.observations import Metric, Observations, TrialObservation

METRICS: dict[str, Metric] = {
    "size": size.measure,
    "top1": top1.measure,
    "topk": topk.measure,
    "confusion": confusion.measure,
    "auc": auc.measure,
    "mean_average_precision": mean_average_precision.measure,
    "mean_iou": mean_iou.measure,
    "mean_squared_error": mean_squared_error.measure,
    "agreement": agreement.measure,
    "latency": latency.measure,
    "memory": memory.measure,
    "scenarios": scenarios.measure,
    "sustained": sustained.measure,
    "energy": energy.measure,
}

#: The measurement that stands for a job's accuracy, the first that it has, and its heading.
MAIN = {"top1": "top-1", "auc": "AUC", "map": "mAP", "miou": "mIoU", "mse": "MSE"}


def main_measurement(found: Mapping[str, Measurement]) -> Measurement | None:
    """The accuracy of a job among its measurements by name, in whatever metric its task has."""
    return next((found[name] for name in MAIN if name in found), None)


__all__ = [
    "MAIN",
    "METRICS",
    "Metric",
    "Observations",
    "TrialObservation",
    "advisories",
    "main_measurement",
]
