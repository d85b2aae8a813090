"""Pure functions over numbers: no input, no output, no state; seeded where they draw."""

from harness.stats.bootstrap import bootstrap_mean_interval, bootstrap_sums
from harness.stats.comparison import (
    Effect,
    benjamini_hochberg,
    mcnemar_mid_p,
    median_ratio,
    paired_shares,
)
from harness.stats.early_stopping import early_stopping_estimate, needed_queries
from harness.stats.intervals import mean_of_proportions_interval, wilson_interval
from harness.stats.ranking import auc_interval
from harness.stats.sequential import t_confidence_sequence
from harness.stats.trials import (
    hierarchical_median_interval,
    mean_interval,
    median_interval,
    relative_half_width,
    trial_medians,
)

__all__ = [
    "Effect",
    "auc_interval",
    "benjamini_hochberg",
    "bootstrap_mean_interval",
    "bootstrap_sums",
    "early_stopping_estimate",
    "hierarchical_median_interval",
    "mcnemar_mid_p",
    "mean_interval",
    "mean_of_proportions_interval",
    "median_interval",
    "median_ratio",
    "needed_queries",
    "paired_shares",
    "relative_half_width",
    "t_confidence_sequence",
    "trial_medians",
    "wilson_interval",
]
