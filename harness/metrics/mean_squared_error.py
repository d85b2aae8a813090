"""Mean squared error against targets, or against the input for what reconstructs it."""

from __future__ import annotations

from harness.domain import Direction, Measurement, Task
from harness.metrics.observations import Observations
from harness.stats import bootstrap_mean_interval


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """``mse`` in the square of the output's real units: the mean over samples of each one's.

    Of an anomaly detector over the normal samples alone. A bootstrap over samples gives the
    interval; one sample has none.
    """
    errors = observations.errors
    if errors is None:
        return ()
    if observations.task is Task.ANOMALY and observations.labels is not None:
        errors = errors[observations.labels == 0]
    value, low, high = bootstrap_mean_interval(errors, seed=observations.policy.seed)
    several = len(errors) > 1
    return (
        Measurement(
            "mse",
            value,
            "units^2",
            Direction.LOWER,
            len(errors),
            low if several else None,
            high if several else None,
        ),
    )
