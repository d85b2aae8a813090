from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.datasets import Split, lint
from harness.errors import DatasetError


def images(count: int = 120, high: int = 256, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, high, (count, 4, 4, 1)).astype(np.uint8)


def test_samples_that_look_right() -> None:
    labels = np.arange(120) % 10
    split = Split(images(), labels)
    assert lint("set", split, classes=10, evaluation=images(50, seed=1), scale=1 / 255) == ()
    assert lint("set", split) == ()


@pytest.mark.parametrize("count", [2, 200])
def test_one_sample_repeated(count: int) -> None:
    split = Split(np.repeat(images(1), count, 0))
    with pytest.raises(DatasetError, match=f"set: its {count} calibration samples are one"):
        lint("set", split)


@pytest.mark.parametrize("value", [0, 128])
def test_samples_of_one_value(value: int) -> None:
    with pytest.raises(DatasetError, match=f"every value of its calibration samples is {value}"):
        lint("set", Split(np.full((1, 4, 4, 1), value, np.uint8)))


def test_repeated_samples_are_counted() -> None:
    samples = images()
    samples[1] = samples[2] = samples[0]
    assert lint("set", Split(samples)) == ("2 of 120 samples are repeated",)
    samples = images(400)
    samples[1] = samples[0]
    assert lint("set", Split(samples)) == ()  # one in four hundred is no matter


def test_training_samples_are_looked_over_too() -> None:
    assert lint("set", Split(images(50)), what="training") == ()
    split = Split(images(), np.arange(120) % 5)
    (found,) = lint("set", split, what="training", classes=6)
    assert "no sample of 1 of 6 classes" in found
    with pytest.raises(DatasetError, match="its 3 training samples are one"):
        lint("set", Split(np.repeat(images(1), 3, 0)), what="training")


def test_few_samples() -> None:
    assert lint("set", Split(images(100))) == ()
    (found,) = lint("set", Split(images(99)))
    assert found.startswith("only 99 samples")


@pytest.mark.parametrize(
    ("factor", "shift", "suspicious"),
    [
        (1 / 255, 0, True),  # scaled here, not there
        (0.4, 0, True),
        (2.5, 0, True),
        (1, 300, True),
        (1, -300, True),
        (0.9, 10, False),
        (1, 0, False),
    ],
)
def test_the_range_of_the_evaluation_samples(factor: float, shift: float, suspicious: bool) -> None:
    samples = images().astype(np.float32) * factor + shift
    found = lint("set", Split(samples), evaluation=images(60, seed=1).astype(np.float32))
    assert bool(found) is suspicious
    assert not suspicious or "evaluation samples from 0 to 255" in found[0]


def test_what_was_scaled_before_the_preprocessing_scales() -> None:
    scaled = images().astype(np.float32) / 255
    (found,) = lint("set", Split(scaled), scale=1 / 255)
    assert "once more" in found
    assert lint("set", Split(scaled), scale=1.0) == ()
    assert lint("set", Split(scaled * 255), scale=1 / 255) == ()


def test_whole_numbers_that_were_rounded() -> None:
    (found,) = lint("set", Split(images(high=2)))
    assert "rounded after scaling" in found


def test_missing_classes() -> None:
    labels = np.arange(120) % 10
    labels[labels == 3] = 4
    labels[labels == 7] = 4
    assert lint("set", Split(images(), labels), classes=10) == (
        "no sample of 2 of 10 classes (3, 7)",
    )
    assert lint("set", Split(images(), labels), classes=0) == ()
    assert lint("set", Split(images()), classes=10) == ()
    # A thousand classes cannot be in 120 samples.
    assert lint("set", Split(images(), labels), classes=1000) == ()
    (many,) = lint("set", Split(images(), labels % 2), classes=60)
    assert many == "no sample of 58 of 60 classes (2, 3, 4, 5, 6, 7, 8, 9, 10, 11...)"


def test_all_that_is_suspicious_is_said_at_once() -> None:
    samples = images(60)
    samples[:30] = samples[0]
    found = lint("set", Split(samples, np.zeros(60, np.int64)), classes=5, evaluation=images() // 4)
    assert len(found) == 4, found
