from __future__ import annotations

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
    ],
)
def test_policies_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Policy(**wrong)  # type: ignore[arg-type]


def test_the_default_policy_is_the_documented_one() -> None:
    policy = Policy()
    assert (policy.trials, policy.warmup_runs, policy.warmup_seconds) == (5, 1, 0.5)
    assert (policy.min_runs, policy.min_seconds, policy.max_seconds) == (50, 1.0, 150.0)
    assert policy.lighter_than_default() == ()


def test_a_lighter_policy_says_what_is_lighter() -> None:
    assert Policy(trials=3, min_seconds=0.1).lighter_than_default() == (
        "trials=3",
        "min_seconds=0.1",
    )
    assert Policy(trials=9, min_seconds=2).lighter_than_default() == ()


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
