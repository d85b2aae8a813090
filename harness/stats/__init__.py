"""Pure functions over numbers: no input, no output, no state; seeded where they draw."""

from harness.stats.bootstrap import bootstrap_mean_interval, bootstrap_sums
from harness.stats.intervals import (
    hierarchical_median_interval,
    mean_of_proportions_interval,
    wilson_interval,
)
from harness.stats.ranking import auc_interval

__all__ = [
    "auc_interval",
    "bootstrap_mean_interval",
    "bootstrap_sums",
    "hierarchical_median_interval",
    "mean_of_proportions_interval",
    "wilson_interval",
]
