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
from harness.stats.granularity import granularity
from harness.stats.intervals import mean_of_proportions_interval, wilson_interval
from harness.stats.middle import median
from harness.stats.modes import Groups, two_groups, two_modes
from harness.stats.ranking import auc_interval
from harness.stats.sequential import t_confidence_sequence
from harness.stats.series import Change, find_change, level_error, short_trend
from harness.stats.spread import expected_range, heterogeneity_chance
from harness.stats.trials import (
    FEWEST_DRAWN,
    Floats,
    hierarchical_median_interval,
    mean_interval,
    median_interval,
    precise_enough,
    relative_half_width,
    trial_medians,
)

__all__ = [
    "FEWEST_DRAWN",
    "Change",
    "Effect",
    "Floats",
    "Groups",
    "auc_interval",
    "benjamini_hochberg",
    "bootstrap_mean_interval",
    "bootstrap_sums",
    "early_stopping_estimate",
    "expected_range",
    "find_change",
    "granularity",
    "heterogeneity_chance",
    "hierarchical_median_interval",
    "level_error",
    "mcnemar_mid_p",
    "mean_interval",
    "mean_of_proportions_interval",
    "median",
    "median_interval",
    "median_ratio",
    "needed_queries",
    "paired_shares",
    "precise_enough",
    "relative_half_width",
    "short_trend",
    "t_confidence_sequence",
    "trial_medians",
    "two_groups",
    "two_modes",
    "wilson_interval",
]
