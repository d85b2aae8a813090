"""What the checks look at: a job's observations, and what several of them derive from these."""

from __future__ import annotations

from functools import cached_property

from harness.metrics.observations import Observations


class Seen:
    """One job's observations; what is derived from them is computed when it is first asked for."""

    def __init__(self, observations: Observations) -> None:
        self.observations = observations

    @cached_property
    def medians(self) -> list[float]:
        """The median of each trial that tells one, in ns, in the order of the trials."""
        found = (trial.median_ns for trial in self.observations.trials)
        return [median for median in found if median is not None]
