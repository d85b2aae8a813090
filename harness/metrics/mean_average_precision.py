"""Object detection: COCO's average precision, computed by pycocotools.

Metric: https://cocodataset.org/#detection-eval (T.-Y. Lin et al., "Microsoft COCO: Common
Objects in Context", ECCV 2014).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.domain import Direction, Measurement
from harness.errors import MissingExtraError
from harness.metrics.observations import Observations

#: Detections of an image that count, the highest scores first.
MOST = 100

#: Bounds of the number of replicates; what decides is the number of detections.
_REPLICATES = (100, 1000)
_WORK = 5_000_000


def require() -> None:
    """Raises ``MissingExtraError`` where pycocotools is not installed."""
    if importlib.util.find_spec("pycocotools") is None:
        raise MissingExtraError(
            "mean average precision needs pycocotools, which is not installed",
            hint="pip install 'edge-harness[accuracy]'",
        )


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """``map`` (mean over IoU 0.50 to 0.95) and ``map50`` (IoU 0.50), over the annotated classes.

    At most 100 detections of an image, objects of every size. The intervals come from a
    bootstrap over images, whose matches with the ground truth stay what they are.
    """
    detections, truth = observations.detections, observations.truth
    if detections is None or not truth:
        return ()
    require()
    categories = _evaluate(to_coco(detections, truth), truth)
    images = len(detections)
    whole = _precisions(categories, np.ones(images))
    rng = np.random.default_rng(observations.policy.seed)
    work = _WORK // max(1, sum(len(item.image) for item in categories))
    drawn = [
        _precisions(categories, rng.multinomial(images, np.full(images, 1 / images)))
        for _ in range(max(_REPLICATES[0], min(_REPLICATES[1], work)) if images > 1 else 0)
    ]
    found = []
    for name, place in (("map", slice(None)), ("map50", slice(0, 1))):
        value = float(whole[place].mean())
        estimates = np.array([part[place].mean() for part in drawn if np.isfinite(part).all()])
        ends: tuple[float | None, float | None] = (None, None)
        if len(estimates):
            low, high = np.percentile(estimates, [2.5, 97.5])
            ends = min(float(low), value), max(float(high), value)
        found.append(Measurement(name, value, "share", Direction.HIGHER, images, *ends))
    return tuple(found)


def to_coco(detections: NDArray[Any], truth: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Detections (n, boxes, 6) of the truth's images as COCO's results.

    A row is ``ymin, xmin, ymax, xmax`` in 0..1 of the model's input, class index and score;
    a negative score marks a row without a detection. ``truth["class_ids"]`` gives a class
    index its category; other classes are not of this dataset and do not count.
    """
    class_ids = truth["class_ids"]
    results: list[dict[str, Any]] = []
    for image, rows in zip(truth["images"], detections.astype(np.float64), strict=True):
        by_row, top, by_column, left = image["frame"]
        for ymin, xmin, ymax, xmax, index, score in rows:
            place = round(index)
            if score < 0 or not 0 <= place < len(class_ids) or class_ids[place] is None:
                continue
            x, y = xmin * by_column + left, ymin * by_row + top
            width, height = (xmax - xmin) * by_column, (ymax - ymin) * by_row
            results.append(
                {
                    "id": len(results) + 1,
                    "image_id": image["id"],
                    "category_id": class_ids[place],
                    "bbox": [x, y, width, height],
                    "area": width * height,
                    "iscrowd": 0,
                    "score": score,
                }
            )
    return results


@dataclass(frozen=True, slots=True)
class _Category:
    """Detections of one class, the highest score first, and how many objects each image has.

    ``image`` (d,) is each detection's image; ``right`` and ``wrong`` (t, d) by IoU threshold
    (neither: it does not count); ``objects`` (n,).
    """

    image: NDArray[np.int64]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    objects: NDArray[np.int64]


def _evaluate(results: list[dict[str, Any]], truth: Mapping[str, Any]) -> list[_Category]:
    """What pycocotools matches, by class; only classes that have objects."""
    from pycocotools import coco, cocoeval

    for module in (coco, cocoeval):
        vars(module)["print"] = lambda *_, **__: None  # it reports to stdout, which is not its own
    described = {key: truth[key] for key in ("images", "categories")}
    tables = []
    for listed in (truth["annotations"], results):
        table = coco.COCO()
        table.dataset = {**described, "annotations": [dict(item) for item in listed]}
        table.createIndex()
        tables.append(table)
    evaluation = cocoeval.COCOeval(*tables, iouType="bbox")
    images = [image["id"] for image in truth["images"]]
    evaluation.params.imgIds = images
    evaluation.params.areaRng = [[0, 1e10]]
    evaluation.params.areaRngLbl = ["all"]
    evaluation.params.maxDets = [MOST]
    evaluation.evaluate()
    # It sorts the ids of images and classes; each class has one entry per image. That order
    # stays, since it decides which of two detections with one score comes first.
    by_id = np.argsort(images)
    per_class = len(images)
    found = []
    for begin in range(0, len(evaluation.evalImgs), per_class):
        item = _category(evaluation.evalImgs[begin : begin + per_class], by_id)
        if item.objects.sum():
            found.append(item)
    return found


def _category(entries: list[dict[str, Any] | None], images: NDArray[np.int64]) -> _Category:
    """One class from its ``entries``, which are those of the dataset's ``images`` (n,)."""
    count = [len(entry["dtScores"]) if entry else 0 for entry in entries]
    objects = np.zeros(len(entries), dtype=np.int64)
    objects[images] = [
        np.count_nonzero(np.asarray(entry["gtIgnore"]) == 0) if entry else 0 for entry in entries
    ]
    there = [entry for entry in entries if entry]
    if not there:
        nothing = np.zeros((10, 0), dtype=bool)
        return _Category(np.zeros(0, np.int64), nothing, nothing, objects)
    scores = np.concatenate([entry["dtScores"] for entry in there])
    order = np.argsort(-scores, kind="mergesort")
    matched = np.concatenate([entry["dtMatches"] for entry in there], axis=1)[:, order] > 0
    ignored = np.concatenate([entry["dtIgnore"] for entry in there], axis=1)[:, order] > 0
    image = np.repeat(images, count)[order]
    return _Category(image, matched & ~ignored, ~matched & ~ignored, objects)


def _precisions(categories: list[_Category], weights: NDArray[Any]) -> NDArray[np.float64]:
    """Average precision (t,) by IoU threshold, each image counted ``weights`` (n,) times.

    The mean over 101 recalls of the highest precision at that recall or beyond it, then
    over classes; NaN where no class has an object.
    """
    recalls = np.linspace(0, 1, 101)
    found = []
    for item in categories:
        objects = float((weights * item.objects).sum())
        if not objects:
            continue
        times = np.asarray(weights, dtype=np.float64)[item.image]
        right = np.cumsum(item.right * times, axis=1)
        wrong = np.cumsum(item.wrong * times, axis=1)
        precision = right / (right + wrong + np.spacing(1))
        best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        padded = np.concatenate([best, np.zeros((len(best), 1))], axis=1)
        places = [np.searchsorted(row / objects, recalls, side="left") for row in right]
        found.append([float(row[at].mean()) for row, at in zip(padded, places, strict=True)])
    return np.mean(found, axis=0) if found else np.full(10, np.nan)
