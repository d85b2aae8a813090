"""Models as users bring them, the good and the odd: all in one conversion process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.simulation import read_graph
from tests.conftest import ROOT
from tests.support.conversions import Outcomes, outcomes, run

FILES = ("batch4.h5", "custom.h5", "custom.keras", "keras3.h5", "nan.h5", "nan_saved_model",
         "ready.keras", "unsigned")  # fmt: skip
FACTORIES = ("functional", "concrete", "subclassed", "uncalled", "nothing", "fails", "missing",
             "two_ends", "strings", "free_shape", "free_rank", "killed", "heads", "named_ends",
             "twice", "several", "cased", "nested", "listed", "mixed_precision", "stops",
             "looked_up")  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    folder = tmp_path_factory.mktemp("odd")
    shutil.copyfile(ROOT / "tests" / "support" / "factories.py", folder / "factories.py")
    subprocess.run(
        [sys.executable, "-m", "tests.support.odd_models", str(folder)], cwd=ROOT, check=True,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
    )  # fmt: skip
    return outcomes(
        folder,
        [
            *((name, "float32") for name in FILES),
            *((f"factories:{name}", "float32") for name in FACTORIES),
            *((f"factories:{name}", "int8") for name in ("functional", "concrete", "subclassed")),
            ("factories:two_ends", "int8"),
            ("factories:two_ends", "weight_only_int8"),
            ("factories:heads", "dynamic_int8"),
            ("factories:sine", "int8"),
            ("factories:tokens", "int8"),
            ("factories:tokens", "int8_selective(keep_float=['SOFTMAX'])"),
            ("many_ends", "float32"),
            ("two_signatures", "float32"),
            ("keras2.keras", "float32"),
            ("batch4.h5", "int8"),
            ("nan.tflite", "dynamic_int8"),
        ],
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["functional", "concrete", "subclassed"])
def test_factories(made: Outcomes, name: str) -> None:
    variant = made.ok(f"factories:{name}", "float32")
    assert variant.manifest["model_format"] == "factory"
    (output,) = run(variant.path)
    assert output.shape == (1, 10)
    assert read_graph(made.ok(f"factories:{name}", "int8").path).full_integer


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("uncalled", "never called on an input"),
        ("nothing", "returned dict"),
        ("fails", "RuntimeError: the weights are on the other machine"),
        ("missing", "has no function missing"),
        ("strings", "takes strings"),
        ("free_shape", "free dimensions [None, None, 1]"),
        ("free_rank", "of unknown number"),
        ("killed", "the converter crashed (SIGKILL)"),
        ("mixed_precision", "computes in float16"),
        ("stops", "SystemExit: 3"),
        ("looked_up", "TensorFlow Lite has no operator for"),
    ],
)
def test_factories_that_make_nothing_of_use(made: Outcomes, name: str, said: str) -> None:
    made.refused(f"factories:{name}", "float32", said)


def test_two_inputs_and_outputs(made: Outcomes) -> None:
    ones = np.ones((1, 8, 8, 1))
    exact = run(made.ok("factories:two_ends", "float32").path, ones, ones)
    assert [item.shape for item in exact] == [(1, 3), (1, 2)]
    coarse = run(made.ok("factories:two_ends", "weight_only_int8").path, ones, ones)
    for one, two in zip(exact, coarse, strict=True):
        np.testing.assert_allclose(one, two, atol=0.1)
    made.refused("factories:two_ends", "int8", "calibration feeds exactly one input")


def test_inputs_and_outputs_keep_their_order(made: Outcomes) -> None:
    """By their place, whatever their names are; the converter's own order is a hash table's."""
    for recipe in ("float32", "dynamic_int8"):
        graph = read_graph(made.ok("factories:heads", recipe).path)
        assert [tensor.shape for tensor in graph.inputs] == [(1, 8, 8, 1), (1, 4)]
        assert [tensor.shape[1] for tensor in graph.outputs] == list(range(1, 13))
    first, second = run(made.ok("factories:twice", "float32").path, np.ones((1, 3)))
    np.testing.assert_allclose(second, 2 * first, rtol=1e-6)
    one, two, three = run(made.ok("factories:several", "float32").path, np.ones((1, 3)))
    assert (one[0].tolist(), two[0].tolist(), three[0].tolist()) == ([1] * 3, [2] * 3, [3] * 3)
    parts = run(made.ok("factories:nested", "float32").path, np.ones((1, 3)))
    assert sorted(part[0, 0] for part in parts) == [1, 2, 3]
    (total,) = run(made.ok("factories:listed", "float32").path, np.ones((1, 3)), np.ones((1, 3)))
    assert total.tolist() == [[11] * 3]
    graph = read_graph(made.ok("many_ends", "float32").path)
    assert [tensor.shape[1] for tensor in graph.outputs] == list(range(1, 13))
    assert len(read_graph(made.ok("factories:cased", "float32").path).inputs) == 3
    graph = read_graph(made.ok("factories:named_ends", "float32").path)
    assert [tensor.shape for tensor in graph.inputs] == [(1, 4), (1, 8, 8, 1)]
    assert [tensor.shape for tensor in graph.outputs] == [(1, 2), (1, 3)]


@pytest.mark.parametrize("recipe", ["int8", "int8_selective(keep_float=['SOFTMAX'])"])
def test_numbers_of_words_calibrate_as_they_are(made: Outcomes, recipe: str) -> None:
    graph = read_graph(made.ok("factories:tokens", recipe).path)
    assert [tensor.dtype for tensor in graph.inputs] == ["int32"]
    assert "int8" in {operator.activation for operator in graph.operators}


def test_a_full_integer_recipe_leaves_nothing_in_float(made: Outcomes) -> None:
    made.refused("factories:sine", "int8", "left something in float: SIN (operator 2)")


@pytest.mark.parametrize("name", ["ready.keras", "keras3.h5"])
def test_keras_3(made: Outcomes, name: str) -> None:
    (output,) = run(made.ok(name, "float32").path)
    assert output.shape == (1, 10)


def test_a_keras_archive_of_keras_2(made: Outcomes) -> None:
    assert run(made.ok("keras2.keras", "float32").path)[0].shape == (1, 10)


def test_several_signatures(made: Outcomes) -> None:
    made.refused("two_signatures", "float32", "has the signatures one, two, and none is")


def test_a_fixed_batch(made: Outcomes) -> None:
    assert run(made.ok("batch4.h5", "int8").path)[0].shape == (4, 10)
    assert run(made.ok("batch4.h5", "float32").path)[0].shape == (4, 10)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("custom.h5", "it uses Doubling, whose code is not in the file"),
        ("custom.keras", "it uses Doubling, whose code is not in the file"),
        ("unsigned", "has no signatures"),
        ("nan.h5", "first/kernel:0 hold 1 values that are NaN"),
        ("nan_saved_model", "first/kernel:0 hold 1 values that are NaN"),
    ],
)
def test_files_that_cannot_be_converted(made: Outcomes, name: str, said: str) -> None:
    made.refused(name, "float32", said)


def test_a_ready_file_with_weights_that_are_no_numbers(made: Outcomes) -> None:
    made.refused("nan.tflite", "dynamic_int8", "NaN or infinite")


@pytest.mark.slow
def test_recurrent_layers(tmp_path: Path, factories: Path) -> None:
    recipes = ("float32", "dynamic_int8", "int8", "qat_int8(epochs=1)")
    found = outcomes(factories, [("factories:lstm", recipe) for recipe in recipes])
    exact = found.ok("factories:lstm", "float32")
    assert "UNIDIRECTIONAL_SEQUENCE_LSTM" in {op.name for op in read_graph(exact.path).operators}
    samples = np.random.default_rng(0).uniform(0, 1, (20, 1, 8, 8)).astype(np.float32)
    wanted = np.concatenate([run(exact.path, sample)[0] for sample in samples])
    dynamic = found.ok("factories:lstm", "dynamic_int8").path
    outputs = np.concatenate([run(dynamic, sample)[0] for sample in samples])
    np.testing.assert_allclose(outputs, wanted, atol=0.02)
    integer = found.ok("factories:lstm", "int8")
    assert read_graph(integer.path).full_integer
    (tensor,) = read_graph(integer.path).inputs
    assert tensor.dtype == "int8"
    coded = [np.clip(np.round(sample * 255 - 128), -128, 127) for sample in samples]
    outputs = np.concatenate([run(integer.path, sample)[0] for sample in coded])
    np.testing.assert_allclose((outputs.astype(int) + 128) / 256, wanted, atol=0.03)
    found.refused("factories:lstm", "qat_int8(epochs=1)", "recurrent layers")


@pytest.mark.slow
def test_training_needs_layers(factories: Path) -> None:
    qat = "qat_int8(epochs=1)"
    found = outcomes(factories, [(f"factories:{name}", qat) for name in ("subclassed", "concrete")])
    found.refused("factories:subclassed", qat, "Own is a subclassed model")
    found.refused("factories:concrete", qat, "a concrete function has no graph of layers")
