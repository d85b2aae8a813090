"""Pure functions over numbers: no input, no output, no state; seeded where they draw."""

from harness.stats.intervals import hierarchical_median_interval, wilson_interval

__all__ = ["hierarchical_median_interval", "wilson_interval"]
