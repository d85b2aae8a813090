"""``harness convert`` of ready files, of what brings its preprocessing along, and with training."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.models import metadata
from harness.simulation import read_graph
from tests.e2e.rows import printed_rows, rows_of
from tests.support import write_suite
from tests.support.conversions import run

Cli = Callable[..., subprocess.CompletedProcess[str]]


# -- ready files -------------------------------------------------------------------------------


@pytest.mark.slow
def test_ready_files_are_quantized(cli: Cli, shared: Path, tmp_path: Path) -> None:
    """A real file that has no signature."""
    source = shared / "models" / "mlperf_tiny" / "ic_resnet8_float.tflite"
    with np.load(shared / "data" / "cifar10_jpeg_train.npz") as train:
        key = next(name for name in train.files if train[name].ndim == 4)
        samples = train[key][:50]
    samples[:40] //= 8  # the dark ones first: their order must not matter
    samples[-1, 0, 0] = 255
    np.savez(tmp_path / "some.npz", images=samples, labels=np.zeros(len(samples), np.int64))
    recipes = [
        "as_is", "dynamic_int8", "weight_only_int8", "weight_only_int4", "dynamic_int4", "int8",
        'int8_selective(keep_float=["FULLY_CONNECTED", "SOFTMAX"])',
    ]  # fmt: skip
    chosen = [argument for recipe in recipes for argument in ("-r", recipe)]
    unknown = 'int8_selective(keep_float=["FULY_CONNECTED"])'
    done = cli(
        "convert", str(source), *chosen, "-r", unknown, "--calibration", "some.npz",
        "--format", "json",
    )  # fmt: skip
    found = printed_rows(done)
    assert done.returncode == 3 and found[unknown]["status"] == "failed"
    assert "did you mean 'FULLY_CONNECTED'" in found[unknown]["reason"], found[unknown]
    graphs = {}
    for recipe in recipes:
        assert found[recipe]["status"] == "ok", found[recipe]
        graphs[recipe] = read_graph(tmp_path / found[recipe]["file"])
        run(tmp_path / found[recipe]["file"])
    assert Path(found["as_is"]["file"]).name == "ic_resnet8_float_as_is.tflite"
    assert found["as_is"]["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert graphs["int8"].full_integer
    (inside,) = graphs["int8"].inputs
    assert inside.quantization and inside.quantization.scales[0] == pytest.approx(1, rel=0.01)
    kinds = {op.name: op.activation for op in graphs[recipes[-1]].operators}
    assert kinds["CONV_2D"] == "int8" and kinds["FULLY_CONNECTED"] == "float32"
    sizes = {recipe: found[recipe]["size_bytes"] for recipe in recipes}
    assert sizes["weight_only_int4"] < sizes["weight_only_int8"] < sizes["as_is"] / 3
    for recipe in ("uint8_io", "qat_int8"):
        refused = cli("convert", str(source), "-r", recipe)
        assert refused.returncode == 2 and "recipes for it" in refused.stderr, refused.stderr
    quantized = cli("convert", found["int8"]["file"], "-r", "weight_only_int8")
    assert quantized.returncode == 3 and "quantized already" in quantized.stderr


# -- metadata ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_file_brings_its_preprocessing_along(
    cli: Cli, digits: dict[str, Path], tmp_path: Path
) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(f"digit {number}" for number in range(10)))
    done = cli(
        "convert", str(digits["model"]), "--scale", "0.0625", "--labels", "labels.txt",
        "--format", "json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    file = tmp_path / printed_rows(done)["float32"]["file"]
    said = metadata.read(file.read_bytes())
    assert said and said.preprocessing and said.preprocessing.scale == pytest.approx(0.0625)
    assert said.labels == tuple(f"digit {number}" for number in range(10))
    suite = write_suite(tmp_path / "own.toml", model=str(file), recipes=["as_is"])
    suite.write_text(suite.read_text().replace("preprocessing = { scale = 0.0625 }\n", ""))
    plain = rows_of(write_suite(tmp_path / "plain.toml"))["float32"]
    own = rows_of(suite)["as_is"]
    assert own["status"] == plain["status"] == "ok", own["error"]
    assert own["accuracy"] == plain["accuracy"] > 0.9


# -- training ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_training_twice_and_in_four_bits(digits: dict[str, Path], tmp_path: Path, cli: Cli) -> None:
    found = []
    for name in ("one", "two"):
        done = cli(
            "convert", str(digits["model"]), "-r", "qat_int8(epochs=1)",
            "-r", "qat_int8(weight_bits=4, epochs=1)", "--train", "digits", "--scale", "0.0625",
            "--format", "json", "--out", name, env={"HARNESS_CACHE": str(tmp_path / f"c-{name}")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found.append(printed_rows(done))
    one, two = (item["qat_int8(epochs=1)"] for item in found)
    assert one["status"] == "ok" and one["sha256"] == two["sha256"]
    assert len(one["manifest"]["training"]["history"]) == 1
    (experiment,) = (row for name, row in found[0].items() if "weight_bits" in name)
    assert experiment["status"] == "evaluated" and "file" not in experiment
    assert "has no file" in experiment["reason"]
    assert experiment["evaluation"]["evaluation"]["metric"] > 0.5
    assert len(list((tmp_path / "one").glob("*.tflite"))) == 1


@pytest.mark.slow
def test_a_training_that_ruins_the_model_says_so(
    digits: dict[str, Path], tmp_path: Path, cli: Cli
) -> None:
    done = cli(
        "convert", str(digits["model"]), "-r", "qat_int8(epochs=1, learning_rate=10)",
        "--train", "digits", "--scale", "0.0625", "--format", "json", "--out", str(tmp_path / "o"),
    )  # fmt: skip
    (row,) = printed_rows(done).values()
    (finding,) = row["manifest"]["training"]["findings"]
    assert row["status"] == "ok" and "held-out samples" in finding
    assert f"training: {finding}" in done.stderr
