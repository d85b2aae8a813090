"""How much was observed: samples, trials."""

from __future__ import annotations

from collections.abc import Iterator

from harness.domain import Advisory, AdvisoryKind
from harness.metrics.checks.seen import Seen

#: Fewer trials than this say little about how processes differ.
TRIALS_WANTED = 3


def summary(seen: Seen) -> Iterator[Advisory]:
    """Statistics of a tool instead of samples."""
    trials = seen.observations.trials
    if any(trial.summary for trial in trials):
        missing = all(trial.median_ns is None for trial in trials)
        yield Advisory(
            AdvisoryKind.SUMMARY_ONLY,
            "benchmark_model keeps no samples"
            + (", and this build prints no median" if missing else ""),
        )


def trials(seen: Seen) -> Iterator[Advisory]:
    """Trials that failed, and too few of them."""
    failed, count = seen.observations.failed_trials, len(seen.medians)
    if failed:
        yield Advisory(AdvisoryKind.TRIALS_FAILED, f"{failed} trial(s) failed and were repeated")
    if 0 < count < TRIALS_WANTED:
        yield Advisory(
            AdvisoryKind.FEW_TRIALS,
            "one trial, so there is no interval" if count == 1 else f"{count} trials",
        )


def passes(seen: Seen) -> Iterator[Advisory]:
    """Measurements that were asked for and could not be had."""
    for name, why in seen.observations.failed_passes.items():
        yield Advisory(AdvisoryKind.MEASUREMENT_FAILED, f"{name}: {why}")


def samples(seen: Seen) -> Iterator[Advisory]:
    """Trials that ended before they had the runs that the Policy wants."""
    wanted = seen.observations.policy.min_runs
    short = [trial.runs for trial in seen.observations.trials if trial.runs < wanted]
    if short:
        yield Advisory(
            AdvisoryKind.FEW_SAMPLES,
            f"{len(short)} trial(s) ended at a bound with as few as {min(short)} runs "
            f"(wanted {wanted})",
        )
