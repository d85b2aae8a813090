"""Every recipe on real models, against published files and known accuracies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import harness
from harness.domain import Preprocessing
from tests.e2e.rows import rows_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

#: Recipe -> bytes (None: not known beforehand) and the range of its top-1. That of int16x8, whose
#: kernels are slow, is held against two devices at once: see test_mlperf_tiny.
RESNET8: dict[str, tuple[int | None, float, float]] = {
    "float32": (318_292, 0.7624, 0.7624),
    "float16": (166_300, 0.7624, 0.7624),
    "dynamic_int8": (94_600, 0.7606, 0.7606),
    "int8": (95_568, 0.755, 0.765),
    "uint8_io": (95_928, 0.755, 0.765),
    "int8_float_io": (95_904, 0.755, 0.765),
    "weight_only_int8": (None, 0.755, 0.765),
    "weight_only_int4": (None, 0.55, 0.70),
    "dynamic_int4": (None, 0.55, 0.70),
    'int8_selective(keep_float=["conv2d"])': (None, 0.755, 0.77),
    "qat_int8": (None, 0.80, 0.83),
    "pruned_int8(epochs=1)": (None, 0.60, 0.80),
    "clustered_int8(epochs=1)": (None, 0.70, 0.80),
}


def test_every_recipe_of_resnet8(shared: Path, tmp_path: Path) -> None:
    suite = tmp_path / "suite.toml"
    suite.write_text(
        f"""
name = "resnet8"
recipes = {json.dumps(list(RESNET8))}
devices = ["local"]
[model.resnet8]
file = "{shared}/models/mlperf_tiny/ic_resnet8.h5"
dataset = "cifar10"
[dataset.cifar10]
source = "npz"
path = "{shared}/data/cifar10_jpeg_test.npz"
training = "{shared}/data/cifar10_jpeg_train.npz"
[policy]
measure = ["accuracy"]
"""
    )
    rows = rows_of(suite)
    for recipe, (size, low, high) in RESNET8.items():
        row = rows[recipe]
        assert row["status"] == "ok", row["error"]
        assert row["samples"] == 5000
        assert low - 5e-5 <= row["accuracy"] <= high + 5e-5, (recipe, row["accuracy"])
        if size is not None:
            assert row["size_bytes"] == pytest.approx(size, rel=0.005), recipe
        assert "outputs_differ" not in row["advisories"]
    assert rows["weight_only_int4"]["size_bytes"] < 0.6 * rows["int8"]["size_bytes"]
    # What pruning and clustering make smaller is the download.
    compressed = {row["recipe"]: row["gzip_bytes"] for row in rows.values()}
    assert compressed["pruned_int8(epochs=1)"] < 0.8 * compressed["int8"]
    assert compressed["clustered_int8(epochs=1)"] < 0.8 * compressed["int8"]


Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def runner(path: Path) -> Run:
    """Real outputs (n, values) of a ``.tflite`` for real inputs, by LiteRT itself."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (entry,), end = interpreter.get_input_details(), interpreter.get_output_details()[0]

    def run(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = []
        for sample in samples:
            value: Any = sample.reshape(entry["shape"])
            if entry["dtype"] is not np.float32:
                scale, zero = entry["quantization"]
                value = np.clip(np.rint(value / scale) + zero, -128, 127).astype(entry["dtype"])
            interpreter.set_tensor(entry["index"], value)
            interpreter.invoke()
            made = interpreter.get_tensor(end["index"])[0].astype(np.float32)
            if end["dtype"] is not np.float32:
                made = (made - end["quantization"][1]) * end["quantization"][0]
            rows.append(made)
        return np.stack(rows)

    return run


def converted(model: Path, recipes: list[str], samples: NDArray[Any], tmp_path: Path) -> list[Path]:
    tmp_path.mkdir(exist_ok=True)
    calibration = tmp_path / "calibration.npz"
    np.savez(calibration, images=samples)
    found = harness.convert(str(model), recipes, tmp_path / "out", calibration=str(calibration))
    assert [item.status for item in found] == ["ok"] * len(recipes), found
    return [item.file for item in found if item.file]


def test_vww_equals_the_published_files(shared: Path, tmp_path: Path) -> None:
    folder = shared / "models" / "mlperf_tiny"
    samples = np.random.default_rng(0).random((200, 96, 96, 3), dtype=np.float32)
    exact, integer = converted(folder / "vww_96.h5", ["float32", "int8"], samples, tmp_path)
    published = folder / "vww_96_float.tflite", folder / "vww_96_int8.tflite"
    for made, other in zip((exact, integer), published, strict=True):
        assert made.stat().st_size <= 1.02 * other.stat().st_size
    some = samples[:100]
    np.testing.assert_allclose(runner(exact)(some), runner(published[0])(some), atol=1e-5)
    ours, theirs = runner(integer)(some), runner(published[1])(some)
    assert np.mean(ours.argmax(1) == theirs.argmax(1)) >= 0.95
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.99


def test_ad01_equals_its_source_and_the_published_file_but_for_its_biases(
    shared: Path, tmp_path: Path
) -> None:
    """The published float file was folded without the dense layers' biases.

    So a copy of the model with these biases at zero must equal it, and the model as it is
    must equal Keras.
    """
    folder = shared / "models" / "mlperf_tiny"
    samples = (np.random.default_rng(0).normal(size=(200, 640)) * 2).astype(np.float32)
    without, keras = tmp_path / "without.h5", tmp_path / "keras.npy"
    script = f"""
import numpy as np, tf_keras
model = tf_keras.models.load_model({str(folder / "ad01.h5")!r}, compile=False)
samples = np.load({str(tmp_path / "samples.npy")!r})
np.save({str(keras)!r}, model(samples, training=False).numpy())
for layer in model.layers[:-1]:
    if type(layer).__name__ == "Dense":
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel, bias * 0])
model.save({str(without)!r}, save_format="h5", include_optimizer=False)
"""
    np.save(tmp_path / "samples.npy", samples[:100])
    import os
    import subprocess
    import sys

    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], check=True, capture_output=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    exact, integer = converted(folder / "ad01.h5", ["float32", "int8"], samples, tmp_path)
    (bare,) = converted(without, ["float32"], samples, tmp_path / "bare")
    published = folder / "ad01_fp32.tflite", folder / "ad01_int8.tflite"
    for made, other in zip((exact, integer), published, strict=True):
        assert made.stat().st_size <= 1.02 * other.stat().st_size
    some, span = samples[:100], 50.0  # outputs reach 44: a step of float32 there is 4e-6
    np.testing.assert_allclose(runner(exact)(some), np.load(keras), atol=2e-6 * span)
    np.testing.assert_allclose(runner(bare)(some), runner(published[0])(some), atol=2e-6 * span)
    ours, theirs = runner(integer)(some), runner(published[1])(some)
    assert np.corrcoef(ours.ravel(), theirs.ravel())[0, 1] > 0.98


def test_kws_equals_its_source(shared: Path, tmp_path: Path) -> None:
    """The published files hold another training's weights, so only sizes can be compared.

    ``kws_float.tflite`` has int8 weights in float operators: it is a ``dynamic_int8``.
    """
    import os
    import subprocess
    import sys

    folder = shared / "models" / "mlperf_tiny"
    samples = (np.random.default_rng(0).normal(size=(200, 49, 10, 1)) * 20).astype(np.float32)
    np.save(tmp_path / "samples.npy", samples[:100])
    script = f"""
import numpy as np, tensorflow as tf
loaded = tf.saved_model.load({str(folder / "kws_saved_model")!r})
function = loaded.signatures["serving_default"]
made = function(tf.constant(np.load({str(tmp_path / "samples.npy")!r})))
np.save({str(tmp_path / "made.npy")!r}, next(iter(made.values())).numpy())
"""
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], check=True, capture_output=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    exact, integer = converted(folder / "kws_saved_model", ["float32", "int8"], samples, tmp_path)
    np.testing.assert_allclose(
        runner(exact)(samples[:100]), np.load(tmp_path / "made.npy"), atol=1e-5
    )
    assert integer.stat().st_size <= 1.02 * (folder / "kws_int8.tflite").stat().st_size
    ours, float_ones = runner(integer)(samples[:100]), runner(exact)(samples[:100])
    assert np.mean(ours.argmax(1) == float_ones.argmax(1)) >= 0.8


def test_an_architecture_by_name_converts_and_runs(tmp_path: Path) -> None:
    """Random weights: latency and size do not depend on them, and agreement can be seen."""
    samples = np.random.default_rng(0).integers(0, 256, (40, 96, 96, 3), dtype=np.uint8)
    calibration = tmp_path / "calibration.npz"
    np.savez(calibration, images=samples)
    found = harness.convert(
        "keras:MobileNetV2?weights=none&alpha=0.35&input=96&classes=10",
        ["float32", "int8(calibration=20)"], tmp_path, calibration=str(calibration),
        preprocessing=Preprocessing(1 / 127.5, (1.0,)),
    )  # fmt: skip
    exact, integer = (item.file for item in found if item.file)
    assert integer.stat().st_size < 0.4 * exact.stat().st_size
    real = (samples[:20] / 127.5 - 1).astype(np.float32)
    ours, wanted = runner(integer)(real), runner(exact)(real)
    assert ours.shape == wanted.shape == (20, 10)
    assert np.abs(ours - wanted).max() < 0.05
