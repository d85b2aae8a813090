"""Accuracy metrics against other implementations and numbers worked by hand."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    jaccard_score,
    roc_auc_score,
    top_k_accuracy_score,
)

from harness.domain import Measurement, Policy, Task
from harness.metrics import METRICS, Observations, confusion, main_measurement
from harness.metrics.mean_average_precision import to_coco


def measured(name: str, **observed: Any) -> dict[str, Measurement]:
    return {item.name: item for item in METRICS[name](Observations(Policy(), 1, **observed))}


def within(item: Measurement) -> bool:
    return item.low is not None and item.high is not None and item.low <= item.value <= item.high


# -- classification ----------------------------------------------------------------------------


def test_top5_equals_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 12, 400), rng.normal(size=(400, 12))
    top = np.argsort(-scores, axis=1)[:, :5].astype(np.int32)
    (found,) = measured("topk", labels=labels, top_classes=top, classes=12).values()
    assert found.value == top_k_accuracy_score(labels, scores, k=5) and within(found)


def test_top5_of_five_classes_says_nothing() -> None:
    top = np.zeros((3, 5), np.int32)
    assert not measured("topk", labels=np.zeros(3, int), top_classes=top, classes=5)
    assert not measured("topk", labels=np.zeros(3, int), classes=12)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=60))
def test_confusion_equals_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = (np.array(part) for part in zip(*pairs, strict=True))
    observed: dict[str, Any] = {"labels": labels, "predictions": predictions, "classes": 6}
    matrix = confusion.matrix(Observations(Policy(), 1, **observed))
    assert matrix is not None
    assert np.array_equal(matrix, confusion_matrix(labels, predictions, labels=range(6)))
    (found,) = measured("confusion", **observed).values()
    expected = np.mean([(predictions[labels == c] == c).mean() for c in np.unique(labels)])
    assert found.value == pytest.approx(expected) and within(found)
    if set(predictions) <= set(labels) and len(set(labels)) > 1:  # else scikit-learn warns
        assert found.value == pytest.approx(balanced_accuracy_score(labels, predictions))


def test_a_matrix_that_nobody_could_read_is_not_kept() -> None:
    labels = np.array([0, 60_000])
    observed: dict[str, Any] = {"labels": labels, "predictions": labels, "classes": 60_001}
    assert confusion.matrix(Observations(Policy(), 1, **observed)) is None
    assert measured("confusion", **observed)["balanced_accuracy"].value == 1.0


# -- errors ------------------------------------------------------------------------------------


def test_auc_by_hand() -> None:
    # Pairs (anomalous, normal) in the right order: (4,1) (4,3) (2,1), not (2,3); 3 of 4.
    errors, labels = np.array([1.0, 3.0, 4.0, 2.0]), np.array([0, 0, 1, 1])
    (found,) = measured("auc", errors=errors, labels=labels, task=Task.ANOMALY).values()
    assert found.value == 0.75 and found.n == 4 and within(found)
    assert not measured("auc", errors=errors, labels=labels, task=Task.REGRESSION)


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=80).filter(
        lambda pairs: len({flag for _, flag in pairs}) == 2
    )
)
def test_auc_equals_scikit_learns_with_ties(pairs: list[tuple[int, bool]]) -> None:
    errors = np.array([float(error) for error, _ in pairs])
    labels = np.array([int(flag) for _, flag in pairs])
    (found,) = measured("auc", errors=errors, labels=labels, task=Task.ANOMALY).values()
    assert found.value == pytest.approx(roc_auc_score(labels, errors)) and within(found)
    assert 0 <= found.low <= found.high <= 1  # type: ignore[operator]


def test_mse_is_that_of_normal_samples_where_there_are_anomalous_ones() -> None:
    errors, labels = np.array([1.0, 3.0, 10.0]), np.array([0, 0, 1])
    anomaly = measured("mean_squared_error", errors=errors, labels=labels, task=Task.ANOMALY)
    assert anomaly["mse"].value == 2.0 and anomaly["mse"].n == 2 and within(anomaly["mse"])
    assert measured("mean_squared_error", errors=errors, task=Task.REGRESSION)[
        "mse"
    ].value == pytest.approx(14 / 3)
    assert measured("mean_squared_error", errors=errors[:1])["mse"].low is None


# -- segmentation ------------------------------------------------------------------------------


def overlaps_of(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    counts = [
        confusion.count(label[label != 255], found[label != 255], classes)
        for label, found in zip(labels, predictions, strict=True)
    ]
    return np.stack([[c.diagonal(), c.sum(axis=0), c.sum(axis=1)] for c in counts])


def test_miou_by_hand() -> None:
    labels, found = np.array([[[0, 0], [1, 255]]]), np.array([[[0, 1], [1, 0]]])
    # Class 0: 1 of 2 pixels in the union; class 1: 1 of 2; class 2 does not occur.
    seen = measured("mean_iou", overlaps=overlaps_of(labels, found, 3))
    assert seen["miou"].value == 0.5 and seen["miou"].low is None
    assert seen["pixel_accuracy"].value == pytest.approx(2 / 3)


def test_miou_equals_scikit_learns() -> None:
    rng = np.random.default_rng(2)
    labels, found = rng.integers(0, 4, (6, 9, 7)), rng.integers(0, 5, (6, 9, 7))
    labels[:, 0] = 255
    counted = labels != 255
    seen = measured("mean_iou", overlaps=overlaps_of(labels, found, 6))
    expected = jaccard_score(labels[counted], found[counted], average="macro")
    assert seen["miou"].value == pytest.approx(expected) and within(seen["miou"])


# -- agreement ---------------------------------------------------------------------------------


def test_agreement_by_hand() -> None:
    own, other = np.array([[3.0, 4.0], [1.0, 0.0]]), np.array([[4.0, 3.0], [1.0, 0.0]])
    difference = own - other
    rows = np.array(
        [[0, 24, 25, 25, (difference[0] ** 2).sum()], [1, 1, 1, 1, (difference[1] ** 2).sum()]]
    )
    seen = measured("agreement", agreement=rows)
    assert seen["agreement_top1"].value == 0.5
    assert seen["agreement_cosine"].value == pytest.approx((24 / 25 + 1) / 2)
    assert seen["agreement_snr"].value == pytest.approx(10 * np.log10(26 / 2))
    assert all(within(item) for item in seen.values())


def test_agreement_without_a_finite_number_gives_none() -> None:
    same = np.array([[1, 1, 1, 1, 0]] * 3)
    assert "agreement_snr" not in measured("agreement", agreement=same)  # it would be infinite
    nan = np.full((3, 5), np.nan)
    assert not measured("agreement", agreement=nan)
    maps = np.array([[0.5, np.nan, np.nan, np.nan, np.nan], [1, *[np.nan] * 4]])
    seen = measured("agreement", agreement=maps, task=Task.SEGMENTATION)
    assert set(seen) == {"agreement_top1"} and seen["agreement_top1"].value == 0.75


# -- detection ---------------------------------------------------------------------------------


def truth_of(boxes: list[list[tuple[int, list[float]]]], **more: Any) -> dict[str, Any]:
    """Per image (category, [x, y, w, h]); images of 100 x 100 pixels, ids in falling order."""
    annotations = [
        {"image_id": 50 - image, "category_id": category, "bbox": box, "area": box[2] * box[3],
         "iscrowd": 0, "id": 0}
        for image, found in enumerate(boxes)
        for category, box in found
    ]  # fmt: skip
    for number, item in enumerate(annotations, 1):
        item["id"] = number
    return {
        "images": [
            {"id": 50 - image, "width": 100, "height": 100, "frame": (100.0, 0.0, 100.0, 0.0)}
            for image in range(len(boxes))
        ],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": annotations,
        "class_ids": [1, 2, None],
        **more,
    }


def rows_of(*boxes: tuple[list[float], int, float], most: int = 6) -> list[list[float]]:
    rows = [[*box, index, score] for box, index, score in boxes]
    return rows + [[0, 0, 0, 0, 0, -1]] * (most - len(rows))


def test_map_of_perfect_boxes_is_one() -> None:
    truth = truth_of([[(1, [10, 20, 30, 40])], [(2, [0, 0, 50, 50]), (1, [60, 60, 20, 20])]])
    detections = np.array(
        [
            rows_of(([0.2, 0.1, 0.6, 0.4], 0, 0.9), ([0.2, 0.1, 0.6, 0.4], 2, 0.95)),
            rows_of(([0, 0, 0.5, 0.5], 1, 0.8), ([0.6, 0.6, 0.8, 0.8], 0, 0.7)),
        ]
    )
    seen = measured("mean_average_precision", detections=detections, truth=truth)
    assert seen["map"].value == pytest.approx(1) and seen["map50"].value == pytest.approx(1)
    assert seen["map"].n == 2 and within(seen["map"])


def test_map_by_hand() -> None:
    """One object; a better scored box misses it: precision is 1/2 at every recall."""
    truth = truth_of([[(1, [10, 20, 30, 40])]])
    wrong, right = [0.7, 0.7, 0.9, 0.9], [0.2, 0.1, 0.6, 0.4]
    detections = np.array([rows_of((wrong, 0, 0.9), (right, 0, 0.5))])
    seen = measured("mean_average_precision", detections=detections, truth=truth)
    assert seen["map50"].value == pytest.approx(0.5)
    assert seen["map"].value == pytest.approx(0.5) and seen["map"].low is None


def test_map_without_any_box_is_zero() -> None:
    truth = truth_of([[(1, [10, 20, 30, 40])], []])
    detections = np.array([rows_of(), rows_of()])
    assert measured("mean_average_precision", detections=detections, truth=truth)["map"].value == 0


def test_a_frame_brings_boxes_back_to_the_original() -> None:
    truth = truth_of([[]])
    truth["images"][0]["frame"] = (200.0, -50.0, 100.0, 0.0)  # wide image in a square letterbox
    (found,) = to_coco(np.array([rows_of(([0.25, 0.1, 0.5, 0.3], 1, 0.9))]), truth)
    assert found["bbox"] == pytest.approx([10, 0, 20, 50]) and found["category_id"] == 2


def random_boxes(levels: int = 0) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    """Detections and truth of 25 images; with ``levels`` only so many scores, so that they tie."""
    rng = np.random.default_rng(5)
    boxes, rows = [], []
    for _ in range(25):
        found, seen = [], []
        for _ in range(rng.integers(0, 5)):
            x, y, w, h = *rng.uniform(0, 60, 2), *rng.uniform(5, 40, 2)
            category = int(rng.integers(1, 3))
            found.append((category, [x, y, w, h]))
            if rng.random() < 0.8:
                near = (np.array([y, x, y + h, x + w]) + rng.normal(0, 2, 4)) / 100
                index = category - 1 if rng.random() < 0.9 else 2 - category
                score = float(rng.random())
                seen.append(
                    (near.tolist(), index, np.ceil(score * levels) / (levels or 1) or score)
                )
        boxes.append(found)
        rows.append(rows_of(*seen))
    truth = truth_of(boxes)
    truth["annotations"][0]["iscrowd"] = 1
    return np.array(rows), truth


@pytest.mark.parametrize("levels", [0, 4])
def test_map_equals_pycocotools_own_summary(levels: int) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    detections, truth = random_boxes(levels)
    ours = measured("mean_average_precision", detections=detections, truth=truth)
    with contextlib.redirect_stdout(io.StringIO()):
        table = COCO()
        table.dataset = {key: truth[key] for key in ("images", "annotations", "categories")}
        table.createIndex()
        evaluation = COCOeval(table, table.loadRes(to_coco(detections, truth)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert ours["map"].value == pytest.approx(evaluation.stats[0], abs=1e-12)
    assert ours["map50"].value == pytest.approx(evaluation.stats[1], abs=1e-12)
    assert within(ours["map"]) and ours["map"].low != ours["map"].high


def test_a_bootstrap_of_map_weighs_the_images_as_the_dataset_has_them() -> None:
    from harness.metrics.mean_average_precision import _evaluate, _precisions

    detections, truth = random_boxes()
    most = max(range(25), key=lambda place: int((detections[place, :, 5] >= 0).sum()))
    image = truth["images"][most]
    categories = _evaluate(to_coco(detections, truth), truth)
    alone = {
        **truth,
        "images": [image],
        "annotations": [item for item in truth["annotations"] if item["image_id"] == image["id"]],
    }
    only = _evaluate(to_coco(detections[most : most + 1], alone), alone)
    weights = np.eye(25)[most]
    assert _precisions(categories, weights) == pytest.approx(_precisions(only, np.ones(1)))


def test_the_reference_evaluation_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    test_map_by_hand()
    assert capsys.readouterr().out == ""


# -- the main one ------------------------------------------------------------------------------


def test_the_main_measurement_is_the_tasks_own() -> None:
    errors, labels = np.array([1.0, 3.0, 10.0]), np.array([0, 0, 1])
    found = {
        **measured("mean_squared_error", errors=errors, labels=labels, task=Task.ANOMALY),
        **measured("auc", errors=errors, labels=labels, task=Task.ANOMALY),
    }
    main = main_measurement(found)
    assert main is not None and main.name == "auc" and main_measurement({}) is None
