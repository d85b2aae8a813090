from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.domain import AdvisoryKind, Policy
from harness.metrics import METRICS, Observations, TrialObservation, advisories

MS = 1_000_000


def trial(median_ns: int, runs: int = 60, **facts: Any) -> TrialObservation:
    values = np.full(runs, median_ns)
    values[::2] += 10
    return TrialObservation({"first": np.array([5 * median_ns]), "measure": values}, facts)


def observe(*trials: TrialObservation, **more: Any) -> Observations:
    return Observations(Policy(), 1000, trials=trials, **more)


def kinds(observations: Observations) -> set[AdvisoryKind]:
    return {advisory.kind for advisory in advisories(observations)}


QUIET = [trial(MS, threads_asked=1, threads_found=1) for _ in range(5)]


def test_a_clean_job_has_no_advisories() -> None:
    equal = {"equal": True, "samples": 16, "relative_rms": 0.0, "allowed": 1e-3}
    clean = observe(
        *QUIET, reference=equal, clock_resolution_ns=50, calibration_samples=200, runtime="r 1"
    )
    assert kinds(clean) == set()


@pytest.mark.parametrize(
    ("observations", "kind"),
    [
        (observe(*QUIET, reference={"equal": False, "samples": 4, "relative_rms": 0.5,
                                    "allowed": 1e-3}), AdvisoryKind.OUTPUTS_DIFFER),
        (observe(*QUIET, reference_missing="why"), AdvisoryKind.NO_REFERENCE),
        (observe(*QUIET, integer16_activations=True), AdvisoryKind.REFERENCE_KERNELS),
        (observe(*QUIET[:2]), AdvisoryKind.FEW_TRIALS),
        (observe(*QUIET, trial(int(1.2 * MS))), AdvisoryKind.TRIALS_DISAGREE),
        (observe(*QUIET, trial(MS, runs=49)), AdvisoryKind.FEW_SAMPLES),
        (observe(*QUIET, failed_trials=1), AdvisoryKind.TRIALS_FAILED),
        (observe(*QUIET, trial(MS, threads_asked=4, threads_found=1)),
         AdvisoryKind.THREADS_DIFFER),
        (observe(*QUIET, trial(MS, readiness={"before": {"thermal_status": 1}})),
         AdvisoryKind.THROTTLED),
        (observe(*QUIET, trial(MS, readiness={"before": {"throttled": False, "thermal_status": 0},
                                              "after": {"throttled": True}})),
         AdvisoryKind.THROTTLED),
        (observe(*QUIET, clock_resolution_ns=20_000), AdvisoryKind.COARSE_TIMER),
        (observe(*QUIET, calibration_samples=10), AdvisoryKind.FEW_CALIBRATION_SAMPLES),
        (observe(*QUIET, calibration_findings=("x",)), AdvisoryKind.SUSPECT_CALIBRATION),
        (observe(*QUIET, training_findings=("x",)), AdvisoryKind.SUSPECT_TRAINING),
    ],
)  # fmt: skip
def test_each_advisory_fires_alone(observations: Observations, kind: AdvisoryKind) -> None:
    assert kinds(observations) == {kind}


def test_a_device_that_says_it_is_well_is_not_throttled() -> None:
    well = {"throttled": False, "thermal_status": 0}
    assert kinds(observe(*QUIET, trial(MS, readiness={"before": well, "after": None}))) == set()
    warm = {"before": well, "after": {"throttled": None, "thermal_status": 3}}
    (found,) = advisories(observe(*QUIET, trial(MS, readiness=warm)))
    assert found.evidence == "Android's thermal status was 3, before or after 1 of 6 trials"
    assert "cool down" in found.next_step


def bound(**enough: Any) -> list[str]:
    given = {"trials": 25, "seconds": 61.4, "half_width": 0.0234, **enough}
    found = advisories(observe(*QUIET, enough=given))
    assert {advisory.kind for advisory in found} <= {AdvisoryKind.NOT_PRECISE}
    return [advisory.evidence for advisory in found]


def test_a_bound_before_the_precision_that_was_wanted_is_told() -> None:
    assert bound(by="max_trials") == ["±2.3 % after 25 trials (wanted ±1 %)"]
    assert bound(by="max_job_seconds") == ["±2.3 % after 25 trials in 61 s (wanted ±1 %)"]
    assert bound(by="max_job_seconds", trials=1, half_width=None) == [
        "no telling how precise it is after 1 trial in 61 s (wanted ±1 %)"
    ]
    assert bound(by="precision", half_width=0.009) == bound(by="trials") == []


def test_warm_ups_that_did_not_end_steady_are_told() -> None:
    def ended(steady: bool | None, reason: str) -> TrialObservation:
        return trial(MS, warmup={"steady": steady, "runs": 9, "reason": reason})

    slow = [ended(False, "max_seconds")] * 3
    fine = [ended(True, "steady"), ended(None, "max_seconds"), trial(MS)]
    assert kinds(observe(*QUIET, *fine)) == set()
    (found,) = advisories(observe(*slow, *fine))
    assert found.kind is AdvisoryKind.NOT_STEADY
    assert found.evidence == "3 of 6 trials were still changing after 5 s of warm-up"
    assert "warmup_max_seconds" in found.next_step and "governor" in found.next_step
    (found,) = advisories(observe(*[ended(False, "max_runs")] * 3))
    assert "after 100000 runs of warm-up" in found.evidence


def test_int16_on_an_accelerator_is_no_matter_of_cpu_kernels() -> None:
    assert kinds(observe(*QUIET, integer16_activations=True, accelerator="gpu")) == set()


def test_latency_in_milliseconds() -> None:
    found = {m.name: m for m in METRICS["latency"](observe(trial(2 * MS), trial(4 * MS)))}
    assert found["latency_median"].value == pytest.approx(3.0, abs=0.01)
    assert found["latency_median"].n == 120 and found["latency_median"].groups == 2
    assert found["latency_min"].value == 2.0
    assert found["first_inference"].value == pytest.approx(15.0)


def test_top1_counts() -> None:
    seen = observe(predictions=np.array([1, 2, 3, 4]), labels=np.array([1, 2, 0, 0]))
    (found,) = METRICS["top1"](seen)
    assert found.value == 0.5 and found.n == 4 and found.low and found.low < 0.5
