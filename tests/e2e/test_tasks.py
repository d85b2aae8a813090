"""Every kind of task from a suite to its table, against plain scripts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import jaccard_score, roc_auc_score

import harness
from harness.errors import ConfigError
from harness.store import JobRecord


def suite(folder: Path, model: Path | str, task: str, dataset: str, **more: str) -> Path:
    path = folder / "suite.toml"
    recipes = more.get("recipes", '["as_is"]')
    path.write_text(f"""
name = "tasks"
recipes = {recipes}
devices = ["local"]

[model.mine]
file = "{model}"
dataset = "data"
task = "{task}"
{more.get("settings", "")}

[dataset.data]
{dataset}

[policy]
measure = ["accuracy"]
output_checks = 4
retries = 0
{more.get("policy", "")}
""")
    return path


def run(path: Path, *, ok: bool = True) -> tuple[harness.RunResult, JobRecord]:
    result = harness.run(path, store=f"sqlite:///{path.parent}/s.db")
    record = result.view.jobs[-1]
    assert (record.status == "ok") == ok, record.error
    return result, record


def outputs_of(model: Path, inputs: np.ndarray) -> np.ndarray:
    """A plain script's outputs in real units; ``inputs`` are real too."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(model), num_threads=1)
    interpreter.allocate_tensors()
    (detail,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = detail["quantization"]
    found = []
    for value in inputs.astype(np.float32):
        if scale:
            limits = np.iinfo(detail["dtype"])
            value = np.clip(np.rint(value / np.float32(scale)) + zero_point, limits.min, limits.max)
        interpreter.set_tensor(detail["index"], value[None].astype(detail["dtype"]))
        interpreter.invoke()
        found.append(interpreter.get_tensor(out["index"])[0])
    scale, zero_point = out["quantization"]
    whole = np.stack(found)
    return (whole.astype(np.float64) - zero_point) * scale if scale else whole


# -- anomaly, reconstruction, regression -------------------------------------------------------


@pytest.fixture
def sounds(tmp_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Normal and shifted noise in the shape of the anomaly detector's spectrograms."""
    rng = np.random.default_rng(0)
    samples = (rng.normal(0, 3, (300, 1)) + rng.normal(-20, 2, 640)).astype(np.float32)
    samples[200:] += rng.normal(0, 1.5, (100, 640)).astype(np.float32)
    labels = (np.arange(300) >= 200).astype(int)
    np.savez(tmp_path / "d.npz", images=samples, labels=labels)
    return samples, labels


NPZ = 'source = "npz"\npath = "d.npz"'


@pytest.mark.parametrize("file", ["ad01_fp32.tflite", "ad01_int8.tflite"])
def test_an_anomaly_detector(
    shared: Path, tmp_path: Path, sounds: tuple[np.ndarray, np.ndarray], file: str
) -> None:
    model = shared / "models" / "mlperf_tiny" / file
    samples, labels = sounds
    result, record = run(suite(tmp_path, model, "anomaly", NPZ))
    errors = np.mean((outputs_of(model, samples).astype(float) - samples) ** 2, axis=1)
    (row,) = result.rows()
    assert row["metric"] == "auc" and row["samples"] == 300
    assert row["accuracy"] == pytest.approx(roc_auc_score(labels, errors), abs=1e-9)
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    assert row["mse"] == pytest.approx(errors[labels == 0].mean(), rel=1e-9)
    assert "AUC %" in result.text("table") and "AUC %" in result.text("markdown")
    assert result.view.store.artifact(record.id, "errors") is not None


def test_a_reconstruction_needs_no_labels(
    shared: Path, tmp_path: Path, sounds: tuple[np.ndarray, np.ndarray]
) -> None:
    model, (samples, _) = shared / "models/mlperf_tiny/ad01_fp32.tflite", sounds
    np.savez(tmp_path / "d.npz", images=samples)
    result, record = run(suite(tmp_path, model, "reconstruction", NPZ))
    found = record.measurements["mse"]
    errors = np.mean((outputs_of(model, samples).astype(float) - samples) ** 2, axis=1)
    assert found.value == pytest.approx(errors.mean(), rel=1e-9) and found.n == 300
    (row,) = result.rows()
    assert row["metric"] == "mse" and row["accuracy"] is None
    assert row["metric_value"] == found.value and row["metric_unit"] == "units^2"
    assert re.search(r"MSE .*\n.*\n.* ±[\d.]+%", result.text("table"))
    page = result.report(tmp_path / "r.html").read_text()
    assert "Accuracy in detail" in page and ">MSE</th>" in page


def test_a_regression_against_targets(digits: dict[str, Path], tmp_path: Path) -> None:
    images = np.load(digits["samples"])[:40]
    outputs = outputs_of(digits["float32"], images * 0.0625)
    np.savez(tmp_path / "d.npz", images=images, labels=outputs + np.float32(0.5))
    scale = "preprocessing = { scale = 0.0625 }"
    path = suite(tmp_path, digits["float32"], "regression", NPZ, settings=scale)
    _, record = run(path)
    assert record.measurements["mse"].value == pytest.approx(0.25, rel=1e-5)
    np.savez(tmp_path / "d.npz", images=images, labels=np.zeros((40, 3)))
    _, record = run(path, ok=False)
    assert record.stage == "verify" and "10 value(s), and dataset data has 3" in str(record.error)


# -- segmentation ------------------------------------------------------------------------------


def test_a_segmentation_with_a_map_of_classes(shared: Path, tmp_path: Path) -> None:
    from PIL import Image

    model = shared / "models/coral/deeplabv3_mnv2_dm05_pascal_quant.tflite"
    images = np.stack(
        [
            np.asarray(Image.open(shared / "models/coral" / name).convert("RGB").resize((513, 513)))
            for name in ("cat.bmp", "parrot.jpg")
        ]
    )
    maps = outputs_of(model, (images - 128.0) / 128)
    labels = np.roll(maps, 20, axis=1).astype(np.uint8)
    labels[:, :10] = 255
    np.savez(tmp_path / "d.npz", images=images, labels=labels)
    prepared = "preprocessing = { mean = 128.0, std = 128.0 }"
    result, record = run(suite(tmp_path, model, "segmentation", NPZ, settings=prepared))
    counted = labels != 255
    expected = jaccard_score(labels[counted], maps[counted], average="macro")
    assert record.measurements["miou"].value == pytest.approx(expected, abs=1e-12)
    right = (labels == maps)[counted].mean()
    assert record.measurements["pixel_accuracy"].value == pytest.approx(right, abs=1e-12)
    matrix = result.view.store.artifact(record.id, "confusion")
    assert matrix is not None and matrix.sum() == counted.sum()
    assert "mIoU %" in result.text("table")
    np.savez(tmp_path / "d.npz", images=images, labels=labels[:, ::2, ::2])
    _, record = run(tmp_path / "suite.toml", ok=False)
    assert "does not fit label maps of [257, 257]" in str(record.error)


# -- detection ---------------------------------------------------------------------------------


def paint(folder: Path, count: int) -> None:
    """Images that tell the detector what to find, and annotations that nearly agree."""
    from PIL import Image

    rng = np.random.default_rng(1)
    (folder / "im").mkdir()
    images, annotations = [], []
    for number in range(count):
        pixels = np.zeros((8, 12), np.uint8)
        for row in range(rng.integers(1, 4)):
            (y, x), (h, w) = rng.uniform(0, 0.4, 2), rng.uniform(0.2, 0.5, 2)
            index = int(rng.integers(0, 2))
            annotations.append(
                {"image_id": 90 - number, "category_id": index + 1,
                 "bbox": [x * 4, y * 8, w * 4, h * 8]}
            )  # fmt: skip
            near = np.array([y, x, y + h, x + w]) + rng.normal(0, 0.02, 4)
            pixels[row, :4] = np.clip(near, 0, 1) * 255
            pixels[row, 4 + index] = rng.uniform(80, 255)
        Image.fromarray(pixels.reshape(8, 4, 3)).save(folder / "im" / f"{number}.png")
        images.append({"id": 90 - number, "file_name": f"{number}.png", "width": 4, "height": 8})
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    value = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "gt.json").write_text(json.dumps(value))


COCO = 'source = "coco"\npath = "im"\nannotations = "gt.json"\nimage_size = [8, 4]'
BYTES = "preprocessing = { std = 255.0 }"


@pytest.mark.slow
def test_a_detector(detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from pycocotools import coco
    from pycocotools.cocoeval import COCOeval

    paint(tmp_path, 12)
    result, record = run(suite(tmp_path, detector, "detection", COCO, settings=BYTES))
    assert capsys.readouterr().out == ""
    assert record.facts["reference"]["identical"]
    found = result.view.store.artifact(record.id, "detections")
    assert found is not None and found.shape == (12, 8, 6)
    truth = json.loads((tmp_path / "gt.json").read_text())
    for number, item in enumerate(truth["annotations"], 1):
        item.update(id=number, iscrowd=0, area=item["bbox"][2] * item["bbox"][3])
    results = [
        {"image_id": image["id"], "category_id": int(index) + 1, "score": float(score),
         "bbox": [float(v) for v in (x * 4, y * 8, (right - x) * 4, (below - y) * 8)]}
        for image, boxes in zip(truth["images"], found, strict=True)
        for y, x, below, right, index, score in boxes if score > 0
    ]  # fmt: skip
    table = coco.COCO()
    table.dataset = truth
    table.createIndex()
    evaluation = COCOeval(table, table.loadRes(results), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    (row,) = result.rows()
    assert 0.3 < row["accuracy"] < 1
    assert row["accuracy"] == pytest.approx(evaluation.stats[0], abs=1e-9)
    assert row["map50"] == pytest.approx(evaluation.stats[1], abs=1e-9)
    assert row["metric"] == "map" and row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]


def test_a_classifier_is_no_detector(digits: dict[str, Path], tmp_path: Path) -> None:
    paint(tmp_path, 2)
    dataset = COCO.replace("[8, 4]", "[8, 8]")
    _, record = run(suite(tmp_path, digits["float32"], "detection", dataset), ok=False)
    assert record.stage == "verify"


def test_a_detector_whose_classes_fit_no_category(detector: Path, tmp_path: Path) -> None:
    paint(tmp_path, 2)
    labels = BYTES + '\nlabels = ["cat", "bird"]'
    _, record = run(suite(tmp_path, detector, "detection", COCO, settings=labels), ok=False)
    assert record.stage == "read" and "no label is called 'dog'" in str(record.error)


@pytest.mark.parametrize(
    ("task", "dataset", "model", "said"),
    [
        ("detecton", NPZ, "", r"suite\.toml:9: .*task.*'detection'"),
        ("detection", NPZ, "", r"suite\.toml:9: .*do not go together"),
        ("anomaly", COCO, "", r"suite\.toml:9: .*do not go together"),
        ("detection", COCO, "output = 1", r"suite\.toml:10: .*none is chosen"),
        ("anomaly", NPZ, "output = -1", r"suite\.toml:10: .*output"),
        ("anomaly", NPZ + "\nletterbox = true", "", r":15: letterbox is for datasets"),
        ("detection", COCO.replace("annotations", "#"), "", r":12: .*needs annotations"),
    ],
)
def test_settings_that_make_no_sense(
    digits: dict[str, Path], tmp_path: Path, task: str, dataset: str, model: str, said: str
) -> None:
    (tmp_path / "im").mkdir()
    (tmp_path / "gt.json").write_text("{}")
    (tmp_path / "d.npz").write_bytes(b"")
    with pytest.raises(ConfigError, match=said):
        run(suite(tmp_path, digits["float32"], task, dataset, settings=model))


# -- classification ----------------------------------------------------------------------------


@pytest.mark.slow
def test_agreement_with_float32(digits: dict[str, Path], tmp_path: Path) -> None:
    """Also where float32 is not among the recipes, and in a run that is made again."""
    images = np.load(digits["samples"])
    places = np.linspace(0, len(images) - 1, 100).astype(int)
    path = suite(
        tmp_path, "builtin:digits_cnn", "classification", 'source = "digits"',
        recipes='["int8"]', settings="preprocessing = { scale = 0.0625 }",
        policy="agreement_samples = 100",
    )  # fmt: skip
    result, record = run(path)
    ours, theirs = (
        outputs_of(digits[name], images[places] * 0.0625).astype(float)
        for name in ("int8", "float32")
    )
    measured: Any = {name: item.value for name, item in record.measurements.items()}
    same = (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean()
    assert measured["agreement_top1"] == pytest.approx(same)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    assert measured["agreement_cosine"] == pytest.approx(((ours * theirs).sum(1) / norms).mean())
    noise = 10 * np.log10((theirs**2).sum() / ((ours - theirs) ** 2).sum())
    assert measured["agreement_snr"] == pytest.approx(noise, rel=1e-6)
    for name in ("agreement_top1", "agreement_cosine", "agreement_snr"):
        item = record.measurements[name]
        assert item.n == 100 and item.low is not None and item.low <= item.value
    (row,) = json.loads(result.text("json"))
    assert row["agreement_snr_db"] == measured["agreement_snr"] and row["top5"] > row["accuracy"]
    assert np.array(row["confusion"]).shape == (10, 10)
    assert np.array(row["confusion"]).sum() == len(images)
    assert 'class="confusion small"' in result.report(tmp_path / "r.html").read_text()
    path.write_text(path.read_text().replace("agreement_samples = 100", "agreement_samples = 0"))
    assert "agreement_top1" not in run(path)[1].measurements


def test_a_model_that_gives_nan_gets_no_accuracy(digits: dict[str, Path], tmp_path: Path) -> None:
    from ai_edge_litert import schema_py_generated as tfl
    from flatbuffers import Builder

    model = tfl.ModelT.InitFromPackedBuf(digits["float32"].read_bytes(), 0)
    weights = max(model.buffers, key=lambda item: 0 if item.data is None else len(item.data))
    weights.data = np.full(len(weights.data) // 4, np.nan, np.float32).view(np.uint8)
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "nan.tflite").write_bytes(bytes(builder.Output()))
    np.savez(tmp_path / "d.npz", images=np.load(digits["samples"])[:9], labels=np.arange(9))
    _, record = run(suite(tmp_path, "nan.tflite", "classification", NPZ), ok=False)
    assert record.stage == "accuracy" and "hold NaN" in str(record.error)
    assert not record.measurements
