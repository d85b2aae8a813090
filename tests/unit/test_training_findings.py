"""What is said of a training that did harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.domain import Variant
from harness.recipes.training import harm


@pytest.mark.parametrize(
    ("name", "before", "after", "samples", "worse"),
    [
        ("accuracy", 0.78, 0.14, 1000, True),
        ("accuracy", 0.78, 0.79, 1000, False),
        ("accuracy", 0.78, 0.765, 100_000, False),  # surely lower, but by little
        ("accuracy", 0.78, 0.70, 50, False),  # within what so few samples can tell
        ("accuracy", 0.78, 0.70, 1000, True),
        ("pixel_accuracy", 0.9, 0.5, 100, True),
        ("mean_absolute_error", 0.1, 0.12, 100, False),
        ("mean_absolute_error", 0.1, 0.2, 100, True),
        ("mean_absolute_error", 0.2, 0.1, 100, False),
    ],
)
def test_harm_done_by_a_training(
    name: str, before: float, after: float, samples: int, worse: bool
) -> None:
    evaluation = {
        "metric_name": name, "float_metric": before, "metric": after, "samples": samples,
    }  # fmt: skip
    found = harm(evaluation)
    assert len(found) == worse
    if worse:
        assert f"{after:.4g} on {samples} held-out samples, and {before:.4g} before" in found[0]


def test_without_held_out_samples_nothing_is_said() -> None:
    assert harm({"metric_name": "accuracy", "metric": 0.1, "samples": 0}) == []


def test_findings_of_a_variant() -> None:
    def variant(**manifest: Any) -> Variant:
        return Variant("m", "qat_int8", "0" * 64, Path("f"), 1, manifest)

    assert variant().training_findings == ()
    assert variant(training={"reason": ""}, training_findings=None).training_findings == ()
    both = variant(training={"findings": ["worse"]}, training_findings=["repeated"])
    assert both.training_findings == ("repeated", "worse")
