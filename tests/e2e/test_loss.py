"""Why a variant lost accuracy, and finding one that does not: on a network that int8 ruins."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.datasets.digits import split

Cli = Callable[..., subprocess.CompletedProcess[str]]

PER_TENSOR = "int8(per_channel=false)"
SOURCE = ("--data", "digits", "--calibration", "digits", "--scale", "0.0625")


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fragile") / "fragile.h5"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.support.fragile", str(path)], check=True,
        capture_output=True, cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    return path


@pytest.fixture(scope="module")
def found(fragile: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An examination of every evaluation sample, and its table."""
    import dataclasses

    import harness
    from harness.domain import Preprocessing

    made = harness.debug(
        str(fragile), PER_TENSOR, "digits", calibration="digits",
        preprocessing=Preprocessing(0.0625), effort=harness.Effort(32, 0, 8),
    )  # fmt: skip
    return json.loads(json.dumps(dataclasses.asdict(made)))  # type: ignore[no-any-return]


@pytest.mark.slow
def test_the_guilty_layers_are_named_first(found: dict[str, Any]) -> None:
    assert found["float_file"]["accuracy"] > 0.85 > found["quantized"]["accuracy"] + 0.2
    first, second, *rest = found["operators"]
    assert {first["layer"], second["layer"]} == {"depthwise_a", "depthwise_b"}
    assert min(first["rmse_over_scale"], second["rmse_over_scale"]) > 3
    assert all(row["rmse_over_scale"] < 1 for row in rest)
    # Together they win back what is lost; each step keeps what the one before it kept.
    steps = found["together"]
    assert steps[-1]["accuracy"] > found["float_file"]["accuracy"] - 0.02
    for earlier, later in itertools.pairwise(steps):
        assert later["keep_float"][:-1] == earlier["keep_float"]


@pytest.mark.slow
def test_the_local_error_is_what_a_plain_computation_gives(
    fragile: Path, found: dict[str, Any], tmp_path: Path
) -> None:
    """The dense layer by itself: its own int8 inputs, its own float weights, in NumPy."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    import harness
    from harness.domain import Preprocessing
    from harness.models import metadata
    from harness.recipes import parse_recipe
    from harness.recipes.loss.local import local_errors
    from harness.recipes.loss.operators import load, pair
    from harness.recipes.making.requantize import FloatFile

    made = harness.convert(str(fragile), ["float32"], tmp_path, preprocessing=Preprocessing(0.0625))
    assert made[0].file
    content = metadata.original(made[0].file.read_bytes())
    samples = (split("test")[0][:8] / 16).astype(np.float32)
    chosen = parse_recipe("int8")
    assert chosen.recipe.quantize
    quantized = FloatFile(content).quantize(chosen.recipe.quantize, chosen.values, samples[:, None])
    pairs = pair(load(content), load(quantized))
    errors = local_errors(content, quantized, pairs, samples, lambda done, of: None)
    error = next(item for item in errors if item.pair.kind == "FULLY_CONNECTED")

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    weights, bias = (
        np.frombuffer(bytes(model.buffers[graph.tensors[index].buffer].data), np.float32)
        for index in error.pair.float_operator.inputs[1:3]
    )
    interpreter = Interpreter(
        model_content=quantized, experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )  # fmt: skip
    interpreter.allocate_tensors()
    specs = {item["index"]: item for item in interpreter.get_tensor_details()}

    def real(index: int) -> Any:
        scale, zero = specs[index]["quantization"]
        return (interpreter.get_tensor(index).astype(np.float64) - zero) * scale

    (entry,) = interpreter.get_input_details()
    differences = []
    for sample in samples:
        scale, zero = entry["quantization"]
        steps = np.clip(np.rint(sample / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(entry["index"], steps[None])
        interpreter.invoke()
        took = real(int(error.pair.quantized_operator.inputs[0])).reshape(-1)
        gave = real(int(error.pair.quantized_operator.outputs[0])).reshape(-1)
        differences.append(gave - (weights.reshape(10, -1) @ took + bias))
    rmse = float(np.sqrt(np.mean(np.square(differences))))
    assert error.rmse == pytest.approx(rmse, rel=1e-3)
    assert error.rmse_over_scale == pytest.approx(rmse / error.scale, rel=1e-3)


@pytest.mark.slow
def test_the_table_fits_a_terminal_and_the_picture_is_one_file(
    found: dict[str, Any], tmp_path: Path
) -> None:
    from harness.reports import loss_plot, loss_table

    text = loss_table.render(found, 100)
    assert max(map(len, text.splitlines())) <= 100
    assert "depthwise_a" in text and "next: int8_selective(keep_float=[" in text
    page = loss_plot.write(found, tmp_path / "loss.html").read_text()
    assert "depthwise_a" in page and "http-equiv" not in page


@pytest.mark.slow
def test_what_would_flatter_or_mislead_is_refused(fragile: Path, cli: Cli, tmp_path: Path) -> None:
    images, labels = split("test")
    np.savez(tmp_path / "some.npz", images=images[:120], labels=labels[:120])
    np.savez(tmp_path / "wrong.npz", images=images[:120], labels=labels[:120] + 10)
    asked = ("debug", str(fragile), "--scale", "0.0625", "--evaluate", "0")
    same = cli(*asked, "--data", "some.npz", "--calibration", "some.npz")
    assert same.returncode == 2 and "evaluation samples too" in same.stderr
    wrong = cli(*asked, "--data", "wrong.npz", "--calibration", "digits")
    assert wrong.returncode == 3 and "label" in wrong.stderr
    trained = cli(*asked, "--data", "some.npz", "--train", "digits", "--recipe", "uint8_io")
    assert trained.returncode == 2 and "debug one of" in trained.stderr
    folder = cli(*asked, "--data", "some.npz", "--calibration", "digits", "--plot", "no/x.html")
    assert folder.returncode == 2 and "no folder" in folder.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_finds_a_selective_variant_and_goes_on_where_it_stopped(
    fragile: Path, cli: Cli, tmp_path: Path
) -> None:
    asked = (
        "search", str(fragile), *SOURCE, "-r", PER_TENSOR, "--minimize", "size", "--trials", "1",
        "--format", "json",
    )  # fmt: skip
    first = cli(*asked, "--budget", "0.02")
    assert first.returncode in (3, 130), first.stderr
    assert not json.loads(first.stdout)["complete"]
    done = cli(*asked, "--budget", "5", timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    best = found["best"]["local"]
    assert best["recipe"].startswith("int8_selective(") and "per_channel=false" in best["recipe"]
    assert best["drop"] <= 0.005 and best["within"]
    tried = {item["recipe"]: item for item in found["tried"]}
    assert tried[PER_TENSOR]["drop"] > 0.2 and not tried[PER_TENSOR]["within"]
    assert best["size_bytes"] < tried["float32"]["size_bytes"]
    assert len(found["runs"]) == 2
    again = cli(*asked, "--budget", "5")
    assert json.loads(again.stdout)["runs"] == found["runs"]  # nothing was measured anew


@pytest.mark.slow
def test_a_search_keeps_in_float_what_knows_no_integers(
    cli: Cli, factories: Path, tmp_path: Path
) -> None:
    del factories
    images, labels = split("test")
    np.savez(tmp_path / "some.npz", images=images[:120], labels=labels[:120])
    images, labels = split("train")
    np.savez(tmp_path / "train.npz", images=images[:120], labels=labels[:120])
    done = cli(
        "search", "factories:sine", "--data", "some.npz", "--calibration", "train.npz", "--scale",
        "0.0625", "-r", "int8", "--device", "raspberry-pi-4", "--trials", "1", "--format", "json",
        "--max-accuracy-drop", "100",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    tried = {item["recipe"]: item for item in found["tried"]}
    assert "left something in float: SIN" in tried["int8"]["error"]
    assert tried['int8_selective(keep_float=["SIN"])']["within"]
