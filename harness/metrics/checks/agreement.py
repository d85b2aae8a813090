"""Whether the trials of a job agree with each other."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.domain import Advisory, AdvisoryKind
from harness.metrics.checks.seen import Seen, samples
from harness.stats import expected_range, heterogeneity_chance, level_error

#: Trials whose medians lie further apart than this ratio disagree. Of more trials the outermost
#: lie further apart by nature: the share grows as their range does, from five trials on.
TRIAL_SPREAD = 1.10

_FIVE = 5

#: If the noise within trials makes such a spread more often than this, it tells nothing.
_CHANCE = 0.001


def trials(seen: Seen) -> Iterator[Advisory]:
    """Medians of trials that lie far apart: in practice, and beside the noise within trials."""
    medians = seen.medians
    if len(medians) < 2 or min(medians) <= 0:
        return
    grown = max(1.0, expected_range(len(medians)) / expected_range(_FIVE))
    ratio = max(medians) / min(medians)
    if ratio - 1 <= (TRIAL_SPREAD - 1) * grown or not seen.visible(min(medians), max(medians)):
        return
    if _noise_explains(seen):
        return
    yield Advisory(
        AdvisoryKind.TRIALS_DISAGREE,
        f"trial medians from {min(medians) / 1e6:.4g} to {max(medians) / 1e6:.4g} ms "
        f"(ratio {ratio:.2f})",
    )


def _noise_explains(seen: Seen) -> bool:
    """Whether what varies within trials makes their medians differ as they do."""
    errors = [level_error(samples(trial)) for trial in seen.timed]
    known = [error for error in errors if error is not None]
    if len(known) < len(seen.medians):  # too few samples to tell
        return False
    return heterogeneity_chance(np.log(seen.medians).tolist(), known) > _CHANCE
