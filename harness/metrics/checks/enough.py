"""Whether a job was measured long enough: warm-ups that were steady, a median that is precise."""

from __future__ import annotations

from collections.abc import Iterator

from harness.domain import Advisory, AdvisoryKind, Policy
from harness.metrics.checks.seen import Seen


def precision(seen: Seen) -> Iterator[Advisory]:
    """A bound that came before the precision that was wanted; none where none was."""
    enough, policy = seen.observations.enough, seen.observations.policy
    if enough.get("by") not in ("max_trials", "max_job_seconds"):
        return
    width = enough.get("half_width")
    found = "no telling how precise it is" if width is None else f"±{100 * width:.2g} %"
    bound = f"{enough['trials']} trial" + ("s" if enough["trials"] != 1 else "")
    if enough["by"] == "max_job_seconds":
        bound += f" in {enough['seconds']:.0f} s"
    yield Advisory(
        AdvisoryKind.NOT_PRECISE, f"{found} after {bound} (wanted ±{100 * policy.precision:g} %)"
    )


def steadiness(seen: Seen) -> Iterator[Advisory]:
    """Trials whose warm-up ended at a bound before it was steady."""
    told = [trial.facts.get("warmup") or {} for trial in seen.observations.trials]
    unsteady = [item for item in told if item.get("steady") is False]
    if not unsteady:
        return
    policy = seen.observations.policy
    bounds = {str(item.get("reason")) for item in unsteady}
    if bounds == {"max_runs"}:
        after = f"{policy.max_runs} runs"
    else:
        after = f"{_longest_warm_up(policy):g} s"
    yield Advisory(
        AdvisoryKind.NOT_STEADY,
        f"{len(unsteady)} of {len(told)} trials were still changing after {after} of warm-up",
    )


def _longest_warm_up(policy: Policy) -> float:
    return min(policy.max_seconds, max(policy.warmup_seconds, policy.warmup_max_seconds))
