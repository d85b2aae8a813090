"""What a task asks of labels and outputs, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.datasets import SOURCES, load_dataset, load_split
from harness.domain import Dataset, Model, Task
from harness.errors import ConversionError, DatasetError, ModelError
from harness.models.detection_outputs import detection_outputs
from harness.orchestrate.tasks import (
    MapLayout,
    check_output_choice,
    check_outputs,
    class_ids,
    map_layout,
)

IMAGES = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)


def load(folder: Path, task: Task, labels: Any, **more: Any) -> Any:
    arrays = {"images": IMAGES} if labels is None else {"images": IMAGES, "labels": labels}
    np.savez(folder / "d.npz", **arrays)
    return load_dataset(Dataset("d", "npz", folder / "d.npz", **more), SOURCES, task)


# -- labels ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "labels", "said"),
    [
        (Task.ANOMALY, np.arange(6), "0 (normal) and 1"),
        (Task.ANOMALY, np.zeros(6, int), "both"),
        (Task.ANOMALY, np.linspace(0, 1, 6), "not class indices"),
        (Task.REGRESSION, np.zeros(5), "6 samples and targets"),
        (Task.REGRESSION, np.array([1, 2, 3, 4, 5, np.nan]), "NaN"),
        (Task.REGRESSION, np.array(list("abcdef")), "not numbers"),
        (Task.SEGMENTATION, np.arange(6), "6 samples and labels of shape (6,)"),
        (Task.SEGMENTATION, np.zeros((5, 4, 4), int), "6 samples"),
        (Task.SEGMENTATION, np.zeros((6, 4, 4)), "not class indices"),
        (Task.SEGMENTATION, np.full((6, 4, 4), -1), "negative"),
        (Task.SEGMENTATION, np.full((6, 4, 4), 256), "the class 256"),
        (Task.SEGMENTATION, np.full((6, 4, 4), 255), "every pixel"),
        (Task.CLASSIFICATION, None, "no array 'labels'"),
        (Task.DETECTION, np.arange(6), "needs a dataset of the source coco"),
    ],
)
def test_labels_that_do_not_fit_the_task(
    tmp_path: Path, task: Task, labels: Any, said: str
) -> None:
    with pytest.raises(DatasetError) as refused:
        load(tmp_path, task, labels)
    assert said in str(refused.value)


def test_labels_as_each_task_has_them(tmp_path: Path) -> None:
    flags = load(tmp_path, Task.ANOMALY, np.array([0, 0, 0, 1, 1, 1], bool)).labels
    assert flags.dtype == np.int64 and flags.tolist() == [0, 0, 0, 1, 1, 1]
    targets = load(tmp_path, Task.REGRESSION, np.zeros((6, 2), np.float32)).labels
    assert targets.dtype == np.float64 and targets.shape == (6, 2)
    maps = load(tmp_path, Task.SEGMENTATION, np.full((6, 4, 4, 1), 7, np.uint8), limit=3).labels
    assert maps.shape == (3, 4, 4)
    assert load(tmp_path, Task.RECONSTRUCTION, None, limit=2).labels.shape == (2, 0)


def test_training_has_the_labels_that_its_task_learns_from(tmp_path: Path) -> None:
    learned = {Task.REGRESSION: np.ones((6, 2)), Task.SEGMENTATION: np.ones((6, 4, 4), int)}
    for task, labels in learned.items():
        np.savez(tmp_path / "t.npz", images=IMAGES + 100, labels=labels)
        more: dict[str, Any] = {"training": tmp_path / "t.npz"}
        dataset = Dataset("d", "npz", tmp_path / "d.npz", **more)
        np.savez(tmp_path / "d.npz", images=IMAGES, labels=labels)
        found = load_dataset(dataset, SOURCES, task, training=True).training
        for split in (found, load_split(dataset, SOURCES, "training", task)):
            assert split is not None and split.labels is not None
            assert split.labels.tolist() == labels.tolist()
        np.savez(tmp_path / "t.npz", images=IMAGES + 100)
        with pytest.raises(DatasetError, match="there are no labels"):
            load_dataset(dataset, SOURCES, task, training=True)
        with pytest.raises(DatasetError, match="there are no labels"):
            load_split(dataset, SOURCES, "training", task)


def test_training_on_some_of_the_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", images=IMAGES + 100, labels=np.arange(6))
    more: dict[str, Any] = {"training": tmp_path / "t.npz", "training_samples": 3}
    load(tmp_path, Task.CLASSIFICATION, np.arange(6))
    dataset = Dataset("d", "npz", tmp_path / "d.npz", **more)
    found = load_dataset(dataset, SOURCES, training=True).training
    for split in (found, load_split(dataset, SOURCES, "training")):
        assert split is not None and split.labels is not None and split.labels.tolist() == [0, 2, 5]


# -- COCO --------------------------------------------------------------------------------------


def coco(folder: Path, change: dict[str, Any] | None = None) -> Dataset:
    from PIL import Image

    (folder / "im").mkdir(exist_ok=True)
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 20:] = 200
    Image.fromarray(pixels).save(folder / "im" / "wide.png")
    Image.fromarray(np.full((30, 10, 3), 90, np.uint8)).save(folder / "im" / "tall.png")
    value = {
        "images": [
            {"id": 7, "file_name": "wide.png", "width": 40, "height": 20},
            {"id": 3, "file_name": "tall.png", "width": 10, "height": 30},
        ],
        "categories": [{"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}],
        "annotations": [
            {"id": 0, "image_id": 7, "category_id": 1, "bbox": [20, 0, 20, 20]},
            {"id": 5, "image_id": 3, "category_id": 2, "bbox": [1, 2, 3, 4], "iscrowd": 1},
        ],
    }
    (folder / "a.json").write_text(json.dumps({**value, **(change or {})}))
    return Dataset("d", "coco", folder / "im", image_size=(20, 20), annotations=folder / "a.json")


def test_a_coco_folder(tmp_path: Path) -> None:
    found = load_dataset(coco(tmp_path), SOURCES, Task.DETECTION)
    assert found.samples.shape == (2, 20, 20, 3) and found.labels.tolist() == [7, 3]
    truth = found.evaluation.truth
    assert [item["id"] for item in truth["annotations"]] == [1, 2]  # 0 would mean: not found
    assert truth["annotations"][0]["area"] == 400
    assert [item["id"] for item in truth["categories"]] == [1, 2]
    assert truth["images"][1]["frame"] == (30.0, -0.0, 10.0, -0.0)
    with pytest.raises(DatasetError, match="only detection does"):
        load_dataset(coco(tmp_path), SOURCES)


def test_a_letterbox_keeps_proportions_and_can_be_undone(tmp_path: Path) -> None:
    from dataclasses import replace

    found = load_dataset(replace(coco(tmp_path), letterbox=True), SOURCES, Task.DETECTION)
    wide = found.samples[0, :, :, 0]
    assert (wide[:5] == 127).all() and (wide[15:] == 127).all()
    assert (wide[5:15, 12:] == 200).all() and (wide[5:15, :8] == 0).all()
    # The bright half, in 0..1 of the letterboxed input, is the box of the annotation.
    by_row, top, by_column, left = found.evaluation.truth["images"][0]["frame"]
    box = [0.5 * by_column + left, 0.25 * by_row + top, 0.5 * by_column, 0.5 * by_row]
    assert box == pytest.approx([20, 0, 20, 20])


def test_a_limit_reads_only_so_many_images(tmp_path: Path) -> None:
    from dataclasses import replace

    dataset = replace(coco(tmp_path), limit=1)
    (tmp_path / "im" / "tall.png").unlink()
    found = load_dataset(dataset, SOURCES, Task.DETECTION)
    assert found.labels.tolist() == [7] and len(found.evaluation.truth["annotations"]) == 1


def test_a_recipe_may_calibrate_with_more_images_than_the_dataset_says(tmp_path: Path) -> None:
    from dataclasses import replace

    from PIL import Image

    (tmp_path / "more").mkdir()
    for value in range(6):
        Image.new("RGB", (9, 9), (value, 0, 0)).save(tmp_path / "more" / f"{value}.png")
    dataset = replace(coco(tmp_path), calibration=tmp_path / "more", calibration_samples=2)
    found = load_dataset(dataset, SOURCES, Task.DETECTION, calibration=4).calibration
    assert found is not None and found.samples[:, 0, 0, 0].tolist() == [0, 1, 3, 5]
    alone = load_split(dataset, SOURCES, "calibration", Task.DETECTION, count=4)
    assert np.array_equal(alone.samples, found.samples)


IMAGE = {"id": 1, "file_name": "wide.png", "width": 40, "height": 20}
THING = {"image_id": 7, "category_id": 1, "bbox": [1, 1, 2, 4]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": []}, "list of images is empty"),
        ({"images": [IMAGE, IMAGE]}, "two images have one id"),
        ({"images": [{**IMAGE, "width": "40"}]}, "image 0 has the width '40'"),
        ({"images": [{**IMAGE, "file_name": "../a.json"}], "annotations": []}, "lies outside"),
        ({"images": [{**IMAGE, "file_name": "no.png"}], "annotations": []}, "not a readable"),
        ({"images": [{**IMAGE, "width": 41}], "annotations": []}, "is 40 x 20 pixels"),
        ({"annotations": []}, "no annotated objects"),
        (
            {"annotations": [{"image_id": 9, "category_id": 1, "bbox": [0, 0, 1, 1]}]},
            "image_id '9'",
        ),
        ({"annotations": [{"image_id": [7], "category_id": 1}]}, "bbox 'None'"),
        ({"annotations": [{"image_id": [7], "bbox": [0, 0, 1, 1]}]}, "image_id '[7]'"),
        ({"annotations": [{"image_id": 7, "category_id": 8, "bbox": [0, 0, 1, 1]}]}, "category_id"),
        ({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [0, 0, 1]}]}, "bbox"),
        ({"annotations": [{"image_id": 7, "category_id": 1, "bbox": [0, 0, -1, 1]}]}, "bbox"),
        ({"annotations": [{**THING, "bbox": [0, 0, 10**400, 1]}]}, "bbox"),
        ({"annotations": [{**THING, "bbox": [0, 0, 1e400, 1]}]}, "bbox"),
        ({"annotations": [{**THING, "iscrowd": "0"}]}, "iscrowd '0'"),
        ({"annotations": [{**THING, "iscrowd": 2}]}, "iscrowd '2'"),
        ({"images": [{**IMAGE, "file_name": "a\0.png"}], "annotations": []}, "no name of a file"),
        ({"images": [{**IMAGE, "file_name": "\ud800"}], "annotations": []}, "no name of a file"),
        ({"categories": "all"}, "no list of categories"),
    ],
)
def test_coco_files_that_lie(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(DatasetError) as refused:
        load_dataset(coco(tmp_path, change), SOURCES, Task.DETECTION)
    assert said in str(refused.value)


@pytest.mark.parametrize("area", [-1, 0, 1e12, 10**400, "4", None])
def test_an_area_that_would_not_count_is_that_of_the_box(tmp_path: Path, area: Any) -> None:
    dataset = coco(tmp_path, {"annotations": [{**THING, "area": area, "iscrowd": False}]})
    (found,) = load_dataset(dataset, SOURCES, Task.DETECTION).evaluation.truth["annotations"]
    assert found["area"] == 8 and found["iscrowd"] == 0


def test_no_area_is_above_what_counts(tmp_path: Path) -> None:
    dataset = coco(tmp_path, {"annotations": [{**THING, "bbox": [0, 0, 1e6, 1e6]}]})
    (found,) = load_dataset(dataset, SOURCES, Task.DETECTION).evaluation.truth["annotations"]
    assert found["area"] == 1e10


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": 5}', "[" * 100_000])
def test_files_that_are_not_coco(tmp_path: Path, text: str) -> None:
    dataset = coco(tmp_path)
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DatasetError, match=r"a\.json"):
        load_dataset(dataset, SOURCES, Task.DETECTION)


def test_class_indices_and_categories() -> None:
    def truth(*ids: int) -> dict[str, Any]:
        return {"categories": [{"id": i, "name": f"n{i}"} for i in ids]}

    model = Model("m", "f", "d")
    assert class_ids(model, truth(1, 2, 3)) == [1, 2, 3]
    assert class_ids(model, truth(0, 1)) == [0, 1]
    for gaps in ((1, 3), (2, 3)):
        with pytest.raises(ModelError, match="have gaps"):
            class_ids(model, truth(*gaps))
    named = Model("m", "f", "d", labels=("???", "N3", "n1"))
    assert class_ids(named, truth(1, 3)) == [None, 3, 1]
    with pytest.raises(ModelError, match="no label is called 'n2'"):
        class_ids(named, truth(1, 2))


# -- outputs -----------------------------------------------------------------------------------


def spec(*shape: int, dtype: str = "float32", scale: float = 0.0) -> dict[str, Any]:
    return {"name": "o", "shape": list(shape), "dtype": dtype, "scale": scale, "zero_point": 0}


@pytest.mark.parametrize(
    ("output", "layout"),
    [
        (spec(1, 4, 6, 21), MapLayout(21, axis=3)),
        (spec(1, 21, 4, 6), MapLayout(21, axis=1)),
        (spec(1, 4, 6, dtype="int64"), MapLayout(256)),
        (spec(1, 4, 6, 1, dtype="uint8"), MapLayout(256)),
        (spec(1, 4, 6, 1, dtype="uint8", scale=0.1), MapLayout(2, binary=True)),
        (spec(1, 4, 6), MapLayout(2, binary=True)),
        (spec(1, 1, 4, 6), MapLayout(2, binary=True)),
    ],
)
def test_layouts_of_maps(output: dict[str, Any], layout: MapLayout) -> None:
    assert map_layout("m", output, (4, 6)) == layout


def test_outputs_that_are_no_maps() -> None:
    for output in (spec(1, 10), spec(1, 5, 6, 3), spec(1, 4, 6, 100_000), spec()):
        with pytest.raises(ConversionError, match="does not fit label maps"):
            map_layout("m", output, (4, 6))


@pytest.mark.parametrize(
    ("task", "output", "labels", "said"),
    [
        (Task.ANOMALY, spec(1, 9), np.array([0, 1]), "9 value(s), and its input has 10"),
        (Task.RECONSTRUCTION, spec(1, 9), np.empty((2, 0)), "its input has 10"),
        (Task.REGRESSION, spec(1, 2), np.zeros(5), "dataset d has 1 target"),
        (Task.SEGMENTATION, spec(1, 4, 6, 3), np.full((2, 4, 6), 3), "3 classes"),
        (Task.CLASSIFICATION, spec(1, 4, 6), np.zeros(2, int), "top-1 says nothing"),
    ],
)
def test_outputs_that_do_not_fit_the_labels(
    task: Task, output: dict[str, Any], labels: Any, said: str
) -> None:
    with pytest.raises(ConversionError) as refused:
        check_outputs(Model("m", "f", "d", task=task), [output], (1, 10), labels, "d")
    assert said in str(refused.value)


def test_several_outputs_need_a_choice() -> None:
    two = [spec(1, 10), spec(1, 4)]
    with pytest.raises(ConversionError, match="has 2 outputs") as refused:
        check_output_choice(Model("m", "f", "d"), two, accuracy=True)
    assert "output = 0" in str(refused.value)
    check_output_choice(Model("m", "f", "d"), two, accuracy=False)
    check_output_choice(Model("m", "f", "d", output=1), two, accuracy=True)
    with pytest.raises(ConversionError, match="not among them"):
        check_output_choice(Model("m", "f", "d", output=2), two, accuracy=False)


def test_outputs_of_a_detector_by_their_names(tmp_path: Path) -> None:
    outputs = [spec(1, 5), spec(1), spec(1, 5, 4), spec(1, 5)]
    with pytest.raises(ConversionError, match="tells its classes from its scores"):
        detection_outputs(tmp_path / "none", outputs)
    outputs[0]["name"] = "detection_scores"
    expected = {"boxes": 2, "count": 1, "classes": 3, "scores": 0}
    assert detection_outputs(tmp_path / "none", outputs) == expected
    for wrong in (outputs[:3], [spec(1, 4)] * 4, [*outputs[:3], spec(1, 6)]):
        with pytest.raises(ConversionError, match="not those of a detector"):
            detection_outputs(tmp_path / "none", wrong)
