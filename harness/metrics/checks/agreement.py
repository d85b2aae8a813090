"""Whether the trials of a job agree with each other."""

from __future__ import annotations

from collections.abc import Iterator

from harness.domain import Advisory, AdvisoryKind
from harness.metrics.checks.seen import Seen
from harness.stats import expected_range

#: Trials whose medians lie further apart than this ratio disagree. Of more trials the outermost
#: lie further apart by nature: the share grows as their range does, from five trials on.
TRIAL_SPREAD = 1.10

_FIVE = 5


def trials(seen: Seen) -> Iterator[Advisory]:
    """Medians of trials that lie far apart: in practice, and beside the noise within trials."""
    medians = seen.medians
    if len(medians) < 2 or min(medians) <= 0:
        return
    grown = max(1.0, expected_range(len(medians)) / expected_range(_FIVE))
    ratio = max(medians) / min(medians)
    if ratio - 1 <= (TRIAL_SPREAD - 1) * grown or not seen.visible(min(medians), max(medians)):
        return
    if seen.noise_explains:
        return
    yield Advisory(
        AdvisoryKind.TRIALS_DISAGREE,
        f"trial medians from {min(medians) / 1e6:.4g} to {max(medians) / 1e6:.4g} ms "
        f"(ratio {ratio:.2f})",
    )
