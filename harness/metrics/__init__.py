"""From raw observations of one job to its measurements and advisories.

A new metric is one file with a ``measure(observations)`` function and one line in
``METRICS``. A metric that has nothing to say of a job returns an empty tuple.
"""

from harness.metrics import latency, memory, size, top1
from harness.metrics.checks import advisories
from harness.metrics.observations import Metric, Observations, TrialObservation

METRICS: dict[str, Metric] = {
    "size": size.measure,
    "top1": top1.measure,
    "latency": latency.measure,
    "memory": memory.measure,
}

__all__ = ["METRICS", "Metric", "Observations", "TrialObservation", "advisories"]
