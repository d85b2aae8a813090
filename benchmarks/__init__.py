"""Speed and memory against plain scripts, as ratios within one run."""
