"""How fast all recipes without training are made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common import Line, ratios, shared

#: Recipes that need neither training nor a compiler nor the names of layers.
RECIPES = (
    "float32", "float16", "dynamic_int8", "int8", "uint8_io", "int8_float_io", "int16x8",
    "weight_only_int8", "weight_only_int4", "dynamic_int4",
)  # fmt: skip

#: What one writes by hand: one process, one conversion after the other.
PLAIN = """
import sys
import numpy as np
import tensorflow as tf
import tf_keras
from ai_edge_quantizer import quantizer, recipe

model = tf_keras.models.load_model(sys.argv[1], compile=False)
images = np.load(sys.argv[2])["images"]
chosen = images[np.linspace(0, len(images) - 1, 200).astype(int)].astype(np.float32)
lite = tf.lite

def converter():
    return lite.TFLiteConverter.from_keras_model(model)

def write(name, content):
    open(sys.argv[3] + "/" + name + ".tflite", "wb").write(content)

float32 = converter().convert()
write("float32", float32)
half = converter()
half.optimizations = [lite.Optimize.DEFAULT]
half.target_spec.supported_types = [tf.float16]
write("float16", half.convert())
dynamic = converter()
dynamic.optimizations = [lite.Optimize.DEFAULT]
write("dynamic_int8", dynamic.convert())
wide = lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
for name, ends, operators in (
    ("int8", tf.int8, lite.OpsSet.TFLITE_BUILTINS_INT8),
    ("uint8_io", tf.uint8, lite.OpsSet.TFLITE_BUILTINS_INT8),
    ("int8_float_io", tf.float32, lite.OpsSet.TFLITE_BUILTINS_INT8),
    ("int16x8", tf.float32, wide),
):
    integer = converter()
    integer.optimizations = [lite.Optimize.DEFAULT]
    integer.target_spec.supported_ops = [operators]
    integer.representative_dataset = lambda: ([row[None]] for row in chosen)
    integer.inference_input_type = integer.inference_output_type = ends
    write(name, integer.convert())
for name, steps in (
    ("weight_only_int8", recipe.weight_only_wi8_afp32()),
    ("weight_only_int4", recipe.weight_only_wi4_afp32()),
    ("dynamic_int4", recipe.dynamic_wi4_afp32()),
):
    made = quantizer.Quantizer(bytearray(float32), steps).quantize()
    write(name, bytes(made.quantized_model))
"""

HARNESS = [sys.executable, "-c", "from harness.cli import main; main()", "convert"]


def run(rounds: int) -> Iterator[Line]:
    """Ten recipes of ResNet8 by ``harness convert`` over a plain script, and from the cache."""
    model = shared() / "models" / "mlperf_tiny" / "ic_resnet8.h5"
    data = shared() / "data" / "cifar10_jpeg_train.npz"
    asked = [word for name in RECIPES for word in ("--recipe", name)]
    ours, theirs, again, peaks = [], [], [], []
    for _ in range(max(1, min(rounds, 5))):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "HARNESS_CACHE": folder}
            command = [
                *HARNESS, str(model), *asked, "--calibration", str(data), "--out", f"{folder}/out",
                "--format", "json",
            ]  # fmt: skip
            ours.append(_seconds(command, environment))
            rows = json.loads(_output(command, environment))
            again.append(_seconds(command, environment))
            peaks.append(max(row["manifest"]["peak_memory_bytes"] for row in rows) / 1e6)
            assert all(row["status"] == "ok" and row["cached"] for row in rows)
            plain = [sys.executable, "-c", PLAIN, str(model), str(data), folder]
            theirs.append(_seconds(plain, environment))
            assert len(list(Path(folder).glob("*.tflite"))) == len(RECIPES)
    yield Line("ten recipes / plain script", ratios(ours, theirs), 0, 0.7)
    yield Line("ten recipes from the cache", tuple(again), 0, 1.0, " s")
    yield Line("largest peak memory of a conversion", tuple(peaks), 0, 2000, " MB")


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    begin = time.perf_counter()
    _output(command, environment)
    return time.perf_counter() - begin


def _output(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout
