"""When a job has been measured enough, over trials put together by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from harness.domain import DeviceKind, Policy, TrialStatus
from harness.metrics import TrialObservation
from harness.metrics.precision import half_width
from harness.orchestrate.enough import Enough, judge, may_add
from harness.store import TrialRecord

MS = 1_000_000
REAL = DeviceKind.REAL


def record(
    median_ns: float, *, seconds: Any = 2.0, status: TrialStatus = TrialStatus.OK,
    purpose: str = "latency", summary: dict[str, Any] | None = None, spread: float = 0.001,
) -> TrialRecord:  # fmt: skip
    rng = np.random.default_rng(int(median_ns))
    values = (median_ns * np.exp(rng.normal(0, spread, 200))).astype(np.int64)
    facts: dict[str, Any] = {"trial_seconds": seconds}
    phases = {"measure": (np.arange(200), values)}
    if summary is not None:
        facts["summary"], phases = summary, {}
    return TrialRecord(1, 1, 0, purpose, status, "", None, {}, facts, phases)


def spread_out(count: int, percent: float) -> list[TrialRecord]:
    rng = np.random.default_rng(5)
    return [record(MS * (1 + percent / 100 * rng.normal())) for _ in range(count)]


@pytest.mark.parametrize(
    ("policy", "kind", "trials", "by"),
    [
        (Policy(), REAL, spread_out(6, 0), ""),
        (Policy(), REAL, spread_out(7, 0.1), "precision"),
        (Policy(), REAL, spread_out(7, 5), ""),
        (Policy(), REAL, spread_out(29, 5), ""),
        (Policy(), REAL, spread_out(30, 5), "max_trials"),
        (Policy(precision=0.2), REAL, spread_out(7, 5), "precision"),
        (Policy(precision=0), REAL, spread_out(6, 5), ""),
        (Policy(precision=0), REAL, spread_out(7, 5), "trials"),
        (Policy(trials=1), REAL, spread_out(1, 5), "trials"),
        (Policy(trials=1, max_trials=25), REAL, spread_out(1, 0), ""),
        (Policy(trials=1, max_trials=25), REAL, spread_out(2, 0.1), "precision"),
        (Policy(trials=30), REAL, spread_out(30, 9), "trials"),
        (Policy(), DeviceKind.SIMULATED, spread_out(7, 5), ""),
        (Policy(), DeviceKind.EMULATED, spread_out(6, 5), ""),
        (Policy(), DeviceKind.EMULATED, spread_out(7, 5), "trials"),
        # Nine trials of 2 s are 18 s, a tenth would be over.
        (Policy(max_job_seconds=19), REAL, spread_out(8, 9), ""),
        (Policy(max_job_seconds=19), REAL, spread_out(9, 9), "max_job_seconds"),
        (Policy(max_job_seconds=1), REAL, spread_out(6, 9), ""),
        (Policy(max_job_seconds=1), REAL, spread_out(7, 9), "max_job_seconds"),
        (Policy(max_job_seconds=1), REAL, spread_out(7, 0.1), "precision"),
        # A constant of a coarse clock is as precise as it gets.
        (Policy(), REAL, [record(MS, spread=0)] * 7, "precision"),
        (Policy(), REAL, [record(0, spread=0)] * 7, "precision"),
    ],
)
def test_the_stop_rule(
    policy: Policy, kind: DeviceKind, trials: Sequence[TrialRecord], by: str
) -> None:
    found = judge(policy, kind, trials)
    assert (found.by, found.trials) == (by, len(trials))
    assert found.seconds == 2.0 * len(trials)


def test_only_latency_trials_that_ended_well_count() -> None:
    others = [
        record(9 * MS, status=TrialStatus.FAILED),
        record(9 * MS, status=TrialStatus.RUNNING),
        record(9 * MS, purpose="accuracy"),
    ]
    alone = judge(Policy(), REAL, spread_out(7, 0.1))
    assert judge(Policy(), REAL, [*others, *spread_out(7, 0.1)]) == alone


@pytest.mark.parametrize("seconds", [None, "x", math.nan, math.inf, [1]])
def test_times_of_no_sense_are_none(seconds: Any) -> None:
    found = judge(Policy(), REAL, [record(MS + 9 * n * n, seconds=seconds) for n in range(7)])
    assert found.seconds == 0


def test_statistics_of_a_tool_stand_for_samples() -> None:
    def told(median: float | None) -> TrialRecord:
        return record(MS, summary={"count": 50, "median": median})

    near = [told(1000 + n) for n in range(7)]
    far = [told(1000 + 100 * n) for n in range(7)]
    assert judge(Policy(), REAL, near).by == "precision"
    assert judge(Policy(), REAL, far).by == ""
    # A build that prints no median: no number of trials would tell more.
    unknown = judge(Policy(), REAL, [told(None)] * 7)
    assert (unknown.by, unknown.half_width) == ("trials", None)


def test_half_of_the_interval_over_the_median() -> None:
    def trial(*values: int) -> TrialObservation:
        return TrialObservation({"measure": np.array(values, np.int64)}, {})

    assert half_width([], 0) is None and half_width([trial(5)], 0) is None
    assert half_width([trial(100)] * 3, 0) == 0
    width = half_width([trial(90), trial(100), trial(110)], 0)
    assert width == pytest.approx(4.3027 * 10 / math.sqrt(3) / 100, rel=1e-4)  # Student's t
    assert half_width([trial(0), trial(0), trial(5)], 0) == math.inf
    assert half_width([trial(1), trial()], 0) is None


def test_what_is_kept_is_json() -> None:
    kept = Enough("max_trials", 5, 1.23456, math.inf).as_facts()
    assert json.loads(json.dumps(kept, allow_nan=False)) == {
        "by": "max_trials", "trials": 5, "seconds": 1.235, "half_width": None
    }  # fmt: skip


def test_what_may_grow() -> None:
    assert may_add(REAL, Policy()) and may_add(DeviceKind.SIMULATED, Policy())
    assert not may_add(DeviceKind.EMULATED, Policy())
    assert not may_add(REAL, Policy(trials=3)) and not may_add(REAL, Policy(precision=0))
