"""Bad models and bad data: a clear record for that job, the others unharmed."""

from __future__ import annotations

import json
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.errors import UsageError
from tests.e2e.rows import rows_of as run
from tests.support import write_suite

Cli = Callable[..., subprocess.CompletedProcess[str]]


def lost_at_read(suite: Path) -> dict[str, Any]:
    """The one row of a suite whose model or dataset cannot be read."""
    (row,) = run(suite).values()
    assert (row["status"], row["stage"], row["exit"]) == ("failed", "read", 3), row
    return row


# -- models ----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign", "late"])
@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.tflite", "m.bin"])
def test_damaged_model_files_are_records_with_the_reason(
    digits: dict[str, Path], tmp_path: Path, name: str, damage: str
) -> None:
    good = digits["float32" if name == "m.tflite" else "model"].read_bytes()
    if name == "m.keras":
        with zipfile.ZipFile(tmp_path / "good", "w") as archive:
            archive.writestr("config.json", "{}" * 3000)
        good = (tmp_path / "good").read_bytes()
    data = {
        "truncated": good[: len(good) // 2],
        "late": good[:-100],
        "empty": b"",
        "foreign": b"\x89PNG\r\n\x1a\n" + bytes(5000),
    }[damage]
    (tmp_path / name).write_bytes(data)
    recipe = "as_is" if name.endswith("tflite") else "float32"
    row = lost_at_read(write_suite(tmp_path / "suite.toml", model=name, recipes=[recipe]))
    assert name in row["error"] and "model digits" in row["error"]


@pytest.mark.slow
def test_a_model_whose_weights_alone_were_saved(digits: dict[str, Path], tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["layer/kernel"] = np.zeros((3, 3))
    rows = run(write_suite(tmp_path / "suite.toml", model="weights.h5"))
    assert rows["float32"]["status"] == "failed" and rows["float32"]["stage"] == "convert"
    assert "weights only" in rows["float32"]["error"] and rows["float32"]["exit"] == 3


def test_a_conversion_that_fails_leaves_the_other_models_alone(
    digits: dict[str, Path], tmp_path: Path
) -> None:
    import h5py

    with h5py.File(tmp_path / "broken.h5", "w") as file:
        file.attrs["model_config"] = '{"class_name": "Sequential", "config": {"layers": 3}}'
        file.attrs["keras_version"] = "2.15.0"
    suite = write_suite(tmp_path / "suite.toml")
    suite.write_text(
        suite.read_text().replace(
            "[dataset.data]",
            '[model.broken]\nfile = "broken.h5"\ndataset = "data"\n\n[dataset.data]',
        )
    )
    result = harness.run(suite, store=f"sqlite:///{tmp_path}/b.db")
    rows = {row["model"]: row for row in result.rows()}
    assert rows["digits"]["status"] == "ok"
    assert rows["broken"]["status"] == "failed" and rows["broken"]["stage"] == "convert"
    assert "Traceback" not in rows["broken"]["error"] and len(rows["broken"]["error"]) < 800


def test_recipes_that_a_source_does_not_allow(digits: dict[str, Path], tmp_path: Path) -> None:
    ready = write_suite(tmp_path / "a.toml", model=str(digits["int8"]), recipes=["uint8_io"])
    with pytest.raises(UsageError, match=r"recipes for it: .*as_is"):
        run(ready)
    with pytest.raises(UsageError, match="as it is"):
        run(write_suite(tmp_path / "b.toml", recipes=["as_is"]))


def test_a_quantized_file_is_not_quantized_again(digits: dict[str, Path], tmp_path: Path) -> None:
    rows = run(
        write_suite(tmp_path / "a.toml", model=str(digits["int8"]), recipes=["dynamic_int8"])
    )
    assert rows["dynamic_int8"]["status"] == "failed"
    assert "quantized already" in rows["dynamic_int8"]["error"]


def test_an_operator_that_the_runtime_lacks(digits: dict[str, Path], tmp_path: Path) -> None:
    """The last operator of a real model is renamed to a custom one that nobody has."""
    from ai_edge_litert import schema_py_generated as tfl
    from flatbuffers import Builder

    model = tfl.ModelT.InitFromPackedBuf(digits["float32"].read_bytes(), 0)
    code = model.operatorCodes[model.subgraphs[0].operators[-1].opcodeIndex]
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, b"NoSuchOperator"
    operator = model.subgraphs[0].operators[-1]
    operator.builtinOptions, operator.builtinOptionsType = None, 0
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "custom.tflite").write_bytes(bytes(builder.Output()))
    suite = write_suite(
        tmp_path / "suite.toml", model="custom.tflite", recipes=["as_is"],
        devices=["local", "pixel-3"],
    )  # fmt: skip
    rows = run(suite)
    for device in ("local", "pixel-3"):
        assert rows[device]["status"] == "failed" and rows[device]["stage"] == "load"
        assert "NoSuchOperator" in rows[device]["error"], rows[device]["error"]
        assert rows[device]["exit"] == 3


# -- data ------------------------------------------------------------------------------------


def npz(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "data.npz", **arrays)
    return 'source = "npz"\npath = "data.npz"'


GOOD = {"images": np.zeros((6, 8, 8), np.uint8), "labels": np.arange(6) % 3}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": np.arange(5)}, "6 samples and labels"),
        ({"labels": np.array(list("abcdef"))}, "not class indices"),
        ({"labels": np.array([0, 1, 2, 3, 4, -5])}, "negative"),
        ({"labels": np.linspace(0, 1, 6)}, "not class indices"),
        ({"images": np.array([object()] * 6)}, "cannot be read"),
        ({"images": np.array(["a"] * 6)}, "needs samples"),
        ({"images": np.full((6, 8, 8), np.nan, np.float32)}, "NaN"),
        ({"images": np.zeros((0, 8, 8), np.uint8), "labels": np.arange(0)}, "needs samples"),
        ({"images": np.array([["a"]] * 6)}, "not numbers"),
    ],
)
def test_datasets_that_make_no_sense(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    suite = write_suite(tmp_path / "suite.toml", dataset=npz(tmp_path, **{**GOOD, **change}))
    assert said in lost_at_read(suite)["error"]


def test_a_truncated_dataset_and_a_missing_array(tmp_path: Path) -> None:
    table = npz(tmp_path, **GOOD)
    suite = write_suite(tmp_path / "suite.toml", dataset=table + '\nsamples_key = "x_test"')
    assert "no array 'x_test', only images, labels" in lost_at_read(suite)["error"]
    whole = (tmp_path / "data.npz").read_bytes()
    (tmp_path / "data.npz").write_bytes(whole[:-200])
    suite = write_suite(tmp_path / "suite.toml", dataset=table)
    assert "data.npz cannot be read" in lost_at_read(suite)["error"]


def test_samples_that_do_not_fit_the_model(digits: dict[str, Path], tmp_path: Path) -> None:
    table = npz(tmp_path, images=np.zeros((6, 9, 9, 3), np.uint8), labels=np.arange(6))
    rows = run(write_suite(tmp_path / "suite.toml", dataset=table))
    assert rows["float32"]["status"] == "failed" and rows["float32"]["stage"] == "verify"
    assert "[9, 9, 3]" in rows["float32"]["error"] and "[8, 8, 1]" in rows["float32"]["error"]


@pytest.mark.slow
def test_labels_that_do_not_match_the_outputs(digits: dict[str, Path], tmp_path: Path) -> None:
    table = npz(tmp_path, images=np.zeros((6, 8, 8), np.uint8), labels=np.arange(6) * 9)
    rows = run(write_suite(tmp_path / "a.toml", dataset=table))
    assert rows["float32"]["stage"] == "verify"
    assert "10 outputs" in rows["float32"]["error"] and "label 45" in rows["float32"]["error"]
    table = npz(tmp_path, images=np.zeros((6, 8, 8), np.uint8), labels=np.arange(6))
    two = 'labels = ["cat", "dog"]'
    rows = run(write_suite(tmp_path / "b.toml", labels=two, dataset=table))
    assert "10 outputs and 2 labels" in rows["float32"]["error"]
    row = lost_at_read(write_suite(tmp_path / "c.toml", labels=two))
    assert "not the classes of dataset data" in row["error"]


def test_calibration_samples_that_are_evaluated_are_refused(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (20, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "test.npz", images=images, labels=np.arange(20) % 10)
    np.savez(tmp_path / "train.npz", images=np.concatenate([255 - images, images[3:5]]))
    table = 'source = "npz"\npath = "test.npz"\ncalibration = "train.npz"'
    row = lost_at_read(write_suite(tmp_path / "suite.toml", dataset=table, recipes=["int8"]))
    assert "2 of 22 calibration samples" in row["error"]


def test_an_image_folder_with_an_empty_class_or_a_broken_image(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a" / "1.png")
    table = 'source = "image_folder"\npath = "images"\nimage_size = [8, 8]'
    suite = write_suite(tmp_path / "suite.toml", dataset=table)
    assert "holds no images" in lost_at_read(suite)["error"]
    (tmp_path / "images" / "b" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert "2.png is not a readable image" in lost_at_read(suite)["error"]


def test_odd_names_travel_as_text(digits: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "a b $(touch owned) <img src=x onerror=alert(1)>"
    folder.mkdir()
    model = folder / "-naïve 'quo\"te.tflite"
    model.write_bytes(digits["int8"].read_bytes())
    suite = write_suite(tmp_path / "suite.toml", recipes=["as_is"], devices=["local", "pixel-3"])
    text = suite.read_text().replace(
        'file = "builtin:digits_cnn"', f"file = {json.dumps(str(model))}"
    )
    name = json.dumps("<img src=x onerror=alert(1)> ; rm -rf /")
    suite.write_text(text.replace("[model.digits]", f"[model.{name}]"))
    rows = run(suite)
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert rows["local"]["model"].startswith("<img")
    assert not (tmp_path / "owned").exists()
