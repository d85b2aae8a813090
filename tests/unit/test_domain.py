from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from harness.domain import Backend, Policy, Preprocessing


@pytest.mark.parametrize(
    ("text", "accelerator", "threads"),
    [("cpu", "cpu", 1), ("cpu x4", "cpu", 4), ("CPU  x 2", "cpu", 2), ("edgetpu", "edgetpu", 1)],
)
def test_backends_are_read_and_written(text: str, accelerator: str, threads: int) -> None:
    backend = Backend.parse(text)
    assert (backend.accelerator, backend.threads) == (accelerator, threads)
    assert Backend.parse(str(backend)) == backend


@pytest.mark.parametrize("accelerator", ["gpu", "npu", "nnapi", "hexagon", "edgetpu"])
def test_threads_of_what_has_none_are_refused(accelerator: str) -> None:
    with pytest.raises(ValueError, match=f"{accelerator} takes no threads"):
        Backend(accelerator, 5)
    with pytest.raises(ValueError, match="takes no threads"):
        Backend.parse(f"{accelerator} x5")
    assert str(Backend(accelerator)) == accelerator


@pytest.mark.parametrize("text", ["", "cpu x0", "cpu x999", "tpu", "cpu 4", "cpu x4; rm -rf /"])
def test_what_is_no_backend_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Backend.parse(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"trials": 0},
        {"min_runs": 0},
        {"max_seconds": float("nan")},
        {"max_seconds": float("inf")},
        {"min_seconds": 10.0, "max_seconds": 5.0},
        {"min_runs": 10, "max_runs": 5},
        {"measure": ()},
        {"measure": ("speed",)},
        {"precision": float("nan")},
        {"precision": -0.01},
        {"precision": 1.5},
        {"max_trials": -1},
        {"max_trials": 1001},
        {"trials": 6, "max_trials": 5},
        {"max_job_seconds": 0},
        {"max_job_seconds": float("inf")},
        {"steady_within": float("nan")},
        {"steady_within": -1},
        {"steady_within": 2},
        {"warmup_max_seconds": float("inf")},
        {"warmup_max_seconds": -1},
    ],
)
def test_policies_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Policy(**wrong)  # type: ignore[arg-type]


def test_the_default_policy_is_the_documented_one() -> None:
    policy = Policy()
    assert (policy.trials, policy.warmup_runs, policy.warmup_seconds) == (7, 1, 0.5)
    assert (policy.min_runs, policy.min_seconds, policy.max_seconds) == (50, 1.0, 150.0)
    assert (policy.warmup_max_seconds, policy.steady_within) == (5.0, 0.01)
    assert (policy.precision, policy.max_trials, policy.max_job_seconds) == (0.01, 30, 600.0)
    assert policy.lighter_than_default() == ()


def test_a_lighter_policy_says_what_is_lighter() -> None:
    assert Policy(trials=3, min_seconds=0.1).lighter_than_default() == (
        "trials=3",
        "min_seconds=0.1",
    )
    assert Policy(trials=30, min_seconds=2).lighter_than_default() == ()
    assert Policy(trials=9, max_trials=40, min_seconds=2).lighter_than_default() == ()


@pytest.mark.parametrize(
    ("given", "trials", "most", "adapts"),
    [
        ({}, 7, 30, True),
        ({"trials": 1}, 1, 1, False),
        ({"trials": 9}, 9, 9, False),
        ({"trials": 30}, 30, 30, False),
        ({"trials": 3, "precision": 0.02}, 3, 30, True),
        ({"trials": 30, "precision": 0.02}, 30, 30, False),
        ({"trials": 1, "max_trials": 4}, 1, 4, True),
        ({"max_trials": 7}, 7, 7, False),
        ({"precision": 0}, 7, 30, False),
    ],
)
def test_who_names_trials_wants_so_many(
    given: dict[str, Any], trials: int, most: int, adapts: bool
) -> None:
    policy = Policy(**given)
    assert (policy.trials, policy.max_trials, policy.adapts) == (trials, most, adapts)
    assert replace(policy) == policy


@pytest.mark.parametrize(
    ("given", "lighter"),
    [
        ({"precision": 0.02}, ("precision=0.02",)),
        ({"precision": 0.005}, ()),
        ({"precision": 0}, ("precision=0",)),
        ({"precision": 0, "trials": 30, "max_trials": 30}, ()),
        ({"max_trials": 10}, ("max_trials=10",)),
        ({"max_trials": 7}, ("max_trials=7",)),
        ({"max_trials": 40}, ()),
        ({"trials": 9}, ("max_trials=9",)),
        ({"trials": 3, "max_trials": 10}, ("trials=3", "max_trials=10")),
        ({"max_job_seconds": 60}, ("max_job_seconds=60",)),
        ({"max_job_seconds": 60, "trials": 30}, ()),
        ({"steady_within": 0.05}, ("steady_within=0.05",)),
        ({"steady_within": 0}, ("steady_within=0",)),
        ({"steady_within": 0.001, "warmup_max_seconds": 30}, ()),
        ({"warmup_max_seconds": 1}, ("warmup_max_seconds=1",)),
    ],
)
def test_a_laxer_stop_rule_is_lighter(given: dict[str, Any], lighter: tuple[str, ...]) -> None:
    assert Policy(**given).lighter_than_default() == lighter


@pytest.mark.parametrize(
    "wrong",
    [
        {"std": (0.0,)},
        {"mean": ()},
        {"mean": (1, 2), "std": (1, 2, 3)},
        {"colour": "RGB"},
        {"layout": "chw"},
        {"resize": "nice"},
    ],
)
def test_preprocessing_without_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Preprocessing(**wrong)  # type: ignore[arg-type]
