"""The advisories of a job: each names its evidence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.domain import Advisory, AdvisoryKind, Policy
from harness.domain.model import CALIBRATION_WANTED
from harness.metrics import energy, sustained
from harness.metrics.observations import Observations

#: Trials whose medians lie further apart than this ratio disagree.
TRIAL_SPREAD = 1.10

#: Fewer trials than this say little about how processes differ.
TRIALS_WANTED = 3

#: A timer step above this share of the median makes single samples coarse.
TIMER_SHARE = 0.01


#: What a trial began without, by what it is about; see ``devices.readiness``.
_MISSED = {"temperature": AdvisoryKind.HOT, "battery": AdvisoryKind.LOW_BATTERY}


def advisories(observations: Observations) -> tuple[Advisory, ...]:
    """Every advisory that the observations call for, in the order of their weight."""
    return tuple(
        advisory
        for check in (
            _outputs,
            _moved,
            _delegation,
            _kernels,
            _summary,
            _throttled,
            sustained.throttled,
            _trials,
            _precision,
            _steadiness,
            _samples,
            _threads,
            _readiness,
            _timer,
            _calibration,
            _training,
            energy.unknown,
        )
        for advisory in check(observations)
    )


def _outputs(observations: Observations) -> Iterator[Advisory]:
    reference = observations.reference
    if observations.reference_missing:
        yield Advisory(AdvisoryKind.NO_REFERENCE, observations.reference_missing)
    elif reference is not None and not reference["equal"]:
        yield Advisory(
            AdvisoryKind.OUTPUTS_DIFFER,
            f"outputs on {reference['samples']} fixed samples differ from the host's by "
            f"{reference['relative_rms']:.2g} (relative RMS; allowed {reference['allowed']:g})",
        )


def _moved(observations: Observations) -> Iterator[Advisory]:
    if observations.moved_to:
        yield Advisory(
            AdvisoryKind.MOVED, f"ran on {observations.moved_to}: {observations.moved_because}"
        )


def _summary(observations: Observations) -> Iterator[Advisory]:
    if any(trial.summary for trial in observations.trials):
        missing = all(trial.median_ns is None for trial in observations.trials)
        yield Advisory(
            AdvisoryKind.SUMMARY_ONLY,
            "benchmark_model keeps no samples"
            + (", and this build prints no median" if missing else ""),
        )


def _kernels(observations: Observations) -> Iterator[Advisory]:
    if observations.integer16_activations and observations.accelerator == "cpu":
        yield Advisory(
            AdvisoryKind.REFERENCE_KERNELS,
            f"{observations.runtime or 'the runtime'} runs 16-bit activations with unoptimised "
            "reference kernels on the CPU",
        )


def _delegation(observations: Observations) -> Iterator[Advisory]:
    seen = observations.delegated
    # On the CPU there is nothing that an operator could fall back from.
    if not seen or observations.accelerator == "cpu":
        return
    nodes, total, partitions = (seen.get(key) for key in ("nodes", "total", "partitions"))
    left = nodes is not None and total is not None and nodes < total
    if left or seen.get("whole") is False:
        count = f"{nodes} of the file's {total}" if left else "not all"
        parts = f", in {partitions} partition(s)" if partitions else ""
        yield Advisory(
            AdvisoryKind.PARTIAL_DELEGATION,
            f"{observations.accelerator} ran {count} operators{parts}",
        )


def _trials(observations: Observations) -> Iterator[Advisory]:
    medians = _medians(observations)
    if observations.failed_trials:
        yield Advisory(
            AdvisoryKind.TRIALS_FAILED,
            f"{observations.failed_trials} trial(s) failed and were repeated",
        )
    if medians and len(medians) < TRIALS_WANTED:
        one = len(medians) == 1
        count = "one trial, so there is no interval" if one else f"{len(medians)} trials"
        yield Advisory(AdvisoryKind.FEW_TRIALS, count)
    if len(medians) > 1 and min(medians) > 0 and max(medians) / min(medians) > TRIAL_SPREAD:
        yield Advisory(
            AdvisoryKind.TRIALS_DISAGREE,
            f"trial medians from {min(medians) / 1e6:.4g} to {max(medians) / 1e6:.4g} ms "
            f"(ratio {max(medians) / min(medians):.2f})",
        )


def _precision(observations: Observations) -> Iterator[Advisory]:
    """A bound that came before the precision that was wanted; none where none was."""
    enough, policy = observations.enough, observations.policy
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


def _steadiness(observations: Observations) -> Iterator[Advisory]:
    """Trials whose warm-up ended at a bound before it was steady."""
    told = [trial.facts.get("warmup") or {} for trial in observations.trials]
    unsteady = [item for item in told if item.get("steady") is False]
    if not unsteady:
        return
    policy = observations.policy
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


def _samples(observations: Observations) -> Iterator[Advisory]:
    short = [
        trial.runs for trial in observations.trials if trial.runs < observations.policy.min_runs
    ]
    if short:
        yield Advisory(
            AdvisoryKind.FEW_SAMPLES,
            f"{len(short)} trial(s) ended at a bound with as few as {min(short)} runs "
            f"(wanted {observations.policy.min_runs})",
        )


def _threads(observations: Observations) -> Iterator[Advisory]:
    differing = sorted(
        {
            (int(asked), int(found))
            for trial in observations.trials
            if (asked := trial.facts.get("threads_asked")) is not None
            and (found := trial.facts.get("threads_found")) is not None
            and asked != found
        }
    )
    for asked, found in differing:
        yield Advisory(AdvisoryKind.THREADS_DIFFER, f"asked for {asked}, found {found}")


def _throttled(observations: Observations) -> Iterator[Advisory]:
    """What the device said of itself before and after its trials."""
    status = count = 0
    for trial in observations.trials:
        readiness = trial.facts.get("readiness") or {}
        states = [state for when in ("before", "after") if (state := readiness.get(when))]
        highest = max((state.get("thermal_status") or 0 for state in states), default=0)
        status = max(status, highest)
        count += highest > 0 or any(state.get("throttled") for state in states)
    if count:
        said = f"Android's thermal status was {status}" if status else "the board said so"
        yield Advisory(
            AdvisoryKind.THROTTLED,
            f"{said}, before or after {count} of {len(observations.trials)} trials",
        )


def _readiness(observations: Observations) -> Iterator[Advisory]:
    """What the Policy asked of the device in vain, each thing once."""
    missed = {
        str(about): str(text)
        for trial in observations.trials
        for about, text in (trial.facts.get("readiness") or {}).get("missed") or ()
    }
    for about, text in missed.items():
        yield Advisory(_MISSED.get(about, AdvisoryKind.NOT_READY), text)


def _medians(observations: Observations) -> list[float]:
    return [median for trial in observations.trials if (median := trial.median_ns) is not None]


def _timer(observations: Observations) -> Iterator[Advisory]:
    medians = _medians(observations)
    step = observations.clock_resolution_ns
    if medians and step > TIMER_SHARE * float(np.median(medians)):
        yield Advisory(
            AdvisoryKind.COARSE_TIMER,
            f"the clock steps by {step:g} ns and the median is {np.median(medians):g} ns",
        )


def _calibration(observations: Observations) -> Iterator[Advisory]:
    count = observations.calibration_samples
    if count is not None and count < CALIBRATION_WANTED:
        yield Advisory(AdvisoryKind.FEW_CALIBRATION_SAMPLES, f"calibrated on {count} samples")
    for finding in observations.calibration_findings:
        yield Advisory(AdvisoryKind.SUSPECT_CALIBRATION, f"calibration: {finding}")


def _training(observations: Observations) -> Iterator[Advisory]:
    for finding in observations.training_findings:
        yield Advisory(AdvisoryKind.SUSPECT_TRAINING, f"training: {finding}")
