"""Whether the trials of a job agree with each other."""

from __future__ import annotations

from collections.abc import Iterator

from harness.domain import Advisory, AdvisoryKind
from harness.metrics.checks.seen import Seen

#: Trials whose medians lie further apart than this ratio disagree.
TRIAL_SPREAD = 1.10


def trials(seen: Seen) -> Iterator[Advisory]:
    """Medians of trials that lie far apart."""
    medians = seen.medians
    if len(medians) > 1 and min(medians) > 0 and max(medians) / min(medians) > TRIAL_SPREAD:
        yield Advisory(
            AdvisoryKind.TRIALS_DISAGREE,
            f"trial medians from {min(medians) / 1e6:.4g} to {max(medians) / 1e6:.4g} ms "
            f"(ratio {max(medians) / min(medians):.2f})",
        )
