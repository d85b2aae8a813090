"""Examinations of a ready file: no TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import harness
from harness.errors import ConversionError
from tests.support.files import float_file, schema


@pytest.fixture
def two_heads(tmp_path: Path) -> Path:
    """A file whose second output alone tells the labels of ``test.npz``."""
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(3, 8))
    for name in ("test", "train"):
        samples = rng.normal(size=(120, 8)).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", images=samples, labels=(samples @ weights.T).argmax(1))
    path = tmp_path / "heads.tflite"
    dense = "FULLY_CONNECTED"
    path.write_bytes(
        float_file(
            [(1, 8), (3, 8), (1, 3), (3, 8), (1, 3)],
            [(dense, [0, 1, -1], [2]), (dense, [0, 3, -1], [4])],
            outputs=[2, 4], constants={1: -weights, 3: weights},
            options={dense: (schema.BuiltinOptions.FullyConnectedOptions,
                             schema.FullyConnectedOptionsT())},
        )
    )  # fmt: skip
    return path


def test_several_outputs_are_judged_by_the_one_that_is_named(two_heads: Path) -> None:
    data, calibration = (str(two_heads.parent / f"{name}.npz") for name in ("test", "train"))
    with pytest.raises(ConversionError, match="2 outputs") as refused:
        harness.debug(str(two_heads), "int8", data, calibration=calibration)
    assert "--output 0" in str(refused.value)
    with pytest.raises(ConversionError, match="not among them"):
        harness.debug(str(two_heads), "int8", data, calibration=calibration, output=2)
    found = [
        harness.debug(str(two_heads), "int8", data, calibration=calibration, output=output)
        for output in (0, 1)
    ]
    assert found[1].float_file["accuracy"] == 1 and found[1].quantized["accuracy"] > 0.9
    assert found[0].float_file["accuracy"] < 0.5 and found[0].quantized["agreement"] > 0.9


def test_float_outputs_that_are_no_numbers_compare_with_nothing(two_heads: Path) -> None:
    data, calibration = (str(two_heads.parent / f"{name}.npz") for name in ("test", "train"))
    with np.load(data) as kept:
        samples, labels = kept["images"], kept["labels"]
    samples[7] = 3e38  # their sum overflows
    np.savez(data, images=samples, labels=labels)
    with pytest.raises(ConversionError, match="sample 7 hold NaN or infinite"):
        harness.debug(str(two_heads), "int8", data, calibration=calibration, output=0)
