from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.domain import Task
from harness.errors import JobError, ProtocolError
from harness.orchestrate.agreement import Agreement, FloatOutputs
from harness.orchestrate.outputs import OutputCollector, compare
from harness.orchestrate.reducers import Boxes, Classes, Errors, Maps
from harness.orchestrate.tasks import MapLayout

FLOAT: dict[str, Any] = {"name": "o", "shape": [1, 5], "dtype": "float32", "scale": 0.0,
                         "zero_point": 0}  # fmt: skip
INT8 = {**FLOAT, "dtype": "int8", "scale": 1 / 256, "zero_point": -128}


def test_predictions_of_chunks_in_any_order() -> None:
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(20, 5)).astype(np.float32)
    collector = OutputCollector(20, 6, Classes(20, FLOAT))
    for start in (10, 0, 15, 5):
        collector.add(0, start, outputs[start : start + 5])
    assert collector.missing() == 0 and collector.width == 5
    assert np.array_equal(collector.artifacts()["predictions"], outputs.argmax(1))
    assert set(collector.artifacts()) == {"predictions"}
    head = collector.head()
    assert head is not None and np.array_equal(head, outputs[:6])


def test_one_output_is_a_yes_or_no() -> None:
    reducer = Classes(3, INT8)
    reducer.add(0, 0, np.array([[-128], [127], [10]], dtype=np.int8))
    assert reducer.artifacts()["predictions"].tolist() == [0, 1, 1]


def test_the_next_classes_of_many_and_equal_outputs() -> None:
    reducer = Classes(2, INT8)
    reducer.add(0, 1, np.array([[-128, 5, -128, 127, -128, -128, -128]], dtype=np.int8))
    reducer.add(0, 0, np.array([[6, 5, 4, 3, 2, 1, 0]], dtype=np.int8))
    assert reducer.artifacts()["top_classes"].tolist() == [[0, 1, 2, 3, 4], [3, 1, 0, 2, 4]]


def test_missing_repeated_and_misshapen_outputs() -> None:
    collector = OutputCollector(4, 2)
    collector.add(0, 2, np.zeros((1, 3), np.float32))
    assert collector.missing() == 3 and collector.head() is None
    with pytest.raises(ProtocolError, match="twice"):
        collector.add(0, 1, np.zeros((2, 3), np.float32))
    with pytest.raises(ProtocolError, match="width"):
        collector.add(0, 0, np.zeros((1, 4), np.float32))


def test_a_sample_counts_once_all_of_its_outputs_are_there() -> None:
    collector = OutputCollector(2, 1, tensors=(0, 1))
    collector.add(0, 0, np.zeros((2, 3), np.float32))
    assert collector.missing() == 2
    collector.add(1, 1, np.zeros((1, 8), np.float32))
    assert collector.missing() == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_gives_no_number(bad: float) -> None:
    outputs = np.zeros((3, 5), np.float32)
    outputs[1, 2] = bad
    errors = Errors(9, FLOAT, lambda offset, n: np.zeros((n, 5)))
    with pytest.raises(JobError, match="sample 5 hold NaN or infinite"):
        errors.add(0, 4, outputs)
    if bad == -np.inf:  # a class that is impossible is an answer
        Classes(9, FLOAT).add(0, 4, outputs)
        return
    with pytest.raises(JobError, match="sample 5 hold NaN"):
        Classes(9, FLOAT).add(0, 4, outputs)


@pytest.mark.parametrize("target", [1e200, -1e308, 1e146])
def test_an_error_that_is_too_large_a_number_is_refused(target: float) -> None:
    targets = np.array([[1.0], [target], [target]])
    errors = Errors(3, FLOAT, lambda offset, n: targets[offset : offset + n])
    with pytest.raises(JobError, match=r"sample 1 .* target goes to 1e") as error:
        errors.add(0, 0, np.zeros((3, 1), np.float32))
    assert error.value.hint
    targets[1:] = 1e144
    errors.add(0, 0, np.zeros((3, 1), np.float32))
    assert np.isfinite(errors.artifacts()["errors"].sum())


def test_errors_are_in_real_units() -> None:
    targets = np.array([[0.5, 0.25], [0.0, 1.0]])
    errors = Errors(2, INT8, lambda offset, n: targets[offset : offset + n])
    errors.add(0, 1, np.array([[-128, 0]], np.int8))  # 0 and 0.5
    errors.add(0, 0, np.array([[0, -64]], np.int8))  # 0.5 and 0.25
    assert errors.artifacts()["errors"].tolist() == [0.0, 0.125]
    with pytest.raises(ProtocolError, match="3 values, not 2"):
        errors.add(0, 0, np.zeros((1, 3), np.int8))


def test_maps_of_scores_indices_and_one_score() -> None:
    labels = np.array([[[0, 1], [2, 255]]])
    scores = np.zeros((1, 2, 2, 3), np.float32)
    scores[0, 0, 0, 0] = scores[0, 0, 1, 1] = scores[0, 1, 0, 0] = scores[0, 1, 1, 2] = 1
    for outputs, layout in (
        (scores, MapLayout(3, axis=3)),
        (np.moveaxis(scores, 3, 1), MapLayout(3, axis=1)),
        (scores.argmax(axis=3), MapLayout(256)),
    ):
        maps = Maps(labels, layout, FLOAT, 255)
        maps.add(0, 0, outputs)
        kept = maps.artifacts()
        assert kept["overlaps"].tolist() == [[[1, 1, 0], [2, 1, 0], [1, 1, 1]]]
        assert kept["pixels"].tolist() == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    maps = Maps(labels % 2, MapLayout(2, binary=True), INT8, 255)
    maps.add(0, 0, np.array([[[-128, 127], [0, 1]]], np.int8))
    assert maps.artifacts()["pixels"].tolist() == [[2, 0], [0, 2]]
    with pytest.raises(JobError, match="holds -1 to 300"):
        Maps(labels, MapLayout(256), FLOAT, 255).add(0, 0, np.array([[[-1, 300], [0, 0]]]))


def test_boxes_beyond_their_number_are_never_looked_at() -> None:
    shapes: list[list[int]] = [[1], [1, 2, 4], [1, 2], [1, 2]]
    boxes = Boxes(
        2,
        [{**FLOAT, "shape": shape} for shape in shapes],
        {"count": 0, "boxes": 1, "classes": 2, "scores": 3},
    )
    garbage = np.array([[[0.1, 0.2, 0.3, 0.4], [np.nan] * 4]] * 2, np.float32)
    garbage.view(np.uint32)[:, 1] = 0x7F800001  # a NaN that is signalled when it is copied
    boxes.add(1, 0, garbage)
    boxes.add(2, 0, np.array([[1, 9e9], [0, np.nan]], np.float32))
    boxes.add(3, 0, np.array([[0.5, 0.6], [0.7, np.inf]], np.float32))
    boxes.add(0, 0, np.array([[1], [1]], np.float32))
    found = boxes.artifacts()["detections"]
    assert found[0, 0] == pytest.approx([0.1, 0.2, 0.3, 0.4, 1, 0.5])
    assert (found[:, 1, 5] == -1).all()
    boxes.add(0, 0, np.array([[2], [1]], np.float32))
    with pytest.raises(JobError, match="sample 0 hold NaN"):
        boxes.artifacts()
    with pytest.raises(ProtocolError):
        boxes.add(2, 0, np.zeros((1, 3), np.float32))


def floats(tmp_path: Path, rows: np.ndarray, places: list[int]) -> FloatOutputs:
    np.save(tmp_path / "floats.npy", rows)
    return FloatOutputs(tmp_path / "floats.npy", np.array(places))


def test_agreement_in_real_units_of_the_samples_that_were_chosen(tmp_path: Path) -> None:
    rows = np.array([[0.5, 0.25], [0.0, 1.0]], np.float32)
    compared = Agreement(floats(tmp_path, rows, [1, 3]), Task.CLASSIFICATION, INT8, None)
    outputs = np.array([[99, 99], [0, -64], [99, 99], [0, -128]], np.int8)
    compared.add(0, outputs[:2])
    compared.add(2, outputs[2:])
    first, second = compared.rows().tolist()
    assert first == [1, 0.3125, 0.3125, 0.3125, 0]
    assert second == [0, 0, 0.25, 1, 1.25]


def test_agreement_of_maps_and_of_impossible_classes(tmp_path: Path) -> None:
    maps = np.array([[[0, 1], [1, 1]]])
    compared = Agreement(floats(tmp_path, maps, [0]), Task.SEGMENTATION, FLOAT, MapLayout(256))
    compared.add(0, np.array([[[0, 1], [1, 0]]]))
    assert compared.rows()[0, 0] == 0.75 and np.isnan(compared.rows()[0, 1:]).all()
    rows = np.zeros((1, 2), np.float32)
    compared = Agreement(floats(tmp_path, rows, [0]), Task.CLASSIFICATION, FLOAT, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compared.add(0, np.array([[-np.inf, 1.0]], np.float32))
    assert not np.isfinite(compared.rows()[0, 4])


def test_comparison_with_the_reference() -> None:
    reference = np.array([[0.1, 0.9], [0.8, 0.2]], dtype=np.float32)
    same = compare(reference.copy(), reference, integer=False)
    assert same["equal"] and same["identical"] and same["relative_rms"] == 0
    near = compare(reference * np.float32(1.0001), reference, integer=False)
    assert near["equal"] and not near["identical"]
    far = compare(reference[:, ::-1].copy(), reference, integer=True)
    assert not far["equal"] and far["relative_rms"] > 0.5
    for wrong in (None, reference[:1], reference.astype(np.float64), reference * np.nan):
        assert not compare(wrong, reference, integer=False)["equal"]


def test_a_zero_point_does_not_hide_a_difference() -> None:
    reference = np.array([[-128, 127, -128, -128]], dtype=np.int8)
    assert not compare(np.full_like(reference, -128), reference, integer=True)["equal"]
    close = reference.copy()
    close[0, 1] = 126
    assert compare(close, reference, integer=True)["equal"]
