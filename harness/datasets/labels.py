"""What each task needs as labels; what does not fit is refused before it is a wrong number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.domain import Task
from harness.errors import DatasetError

#: Pixels of this class in a map of labels are not evaluated (Pascal VOC's border).
IGNORED = 255

#: Tasks whose models learn from labels; the others give back their input.
LEARNS = frozenset({Task.CLASSIFICATION, Task.REGRESSION, Task.SEGMENTATION})


def check_labels(name: str, count: int, labels: NDArray[Any], task: Task) -> NDArray[Any]:
    """The labels of ``count`` samples in the task's own form; raises ``DatasetError``.

    ``name`` begins the message. Classification: class indices (n,) int64; anomaly: 0 normal
    or 1 anomalous (n,); regression: finite targets (n, ...) float64; segmentation: class
    maps (n, height, width) int64; reconstruction: none, (n, 0); detection: image ids (n,).
    """
    if task is Task.RECONSTRUCTION:
        return np.empty((count, 0))
    return _CHECKS[task](name, count, np.asarray(labels))


def _class_indices(name: str, count: int, labels: NDArray[Any]) -> NDArray[np.int64]:
    if labels.ndim == 2 and 1 in labels.shape:
        labels = labels.reshape(-1)
    if labels.shape != (count,):
        raise DatasetError(
            f"{name}: {count} samples and labels of shape {labels.shape}",
            hint="labels must be one class index per sample",
        )
    if labels.dtype.kind not in "ui":
        raise DatasetError(f"{name}: labels are {labels.dtype}, not class indices")
    return _not_negative(name, labels)


def _flags(name: str, count: int, labels: NDArray[Any]) -> NDArray[np.int64]:
    found = _class_indices(name, count, labels.astype(np.int64) if _is_bool(labels) else labels)
    if found.max() > 1 or found.min() == found.max():
        seen = ", ".join(map(str, np.unique(found)[:4].tolist()))
        raise DatasetError(
            f"{name}: the labels of an anomaly detector are 0 (normal) and 1 (anomalous), "
            f"both, and here there are {seen}",
            hint="an AUC needs samples of both kinds",
        )
    return found


def _targets(name: str, count: int, labels: NDArray[Any]) -> NDArray[np.float64]:
    if labels.ndim < 1 or len(labels) != count or labels.size == 0:
        raise DatasetError(
            f"{name}: {count} samples and targets of shape {labels.shape}",
            hint="a regression needs one target, or one array of targets, per sample",
        )
    if labels.dtype.kind not in "uif":
        raise DatasetError(f"{name}: targets are {labels.dtype}, not numbers")
    if not np.isfinite(labels).all():
        raise DatasetError(f"{name}: targets hold NaN or infinite values")
    return labels.astype(np.float64)


def _maps(name: str, count: int, labels: NDArray[Any]) -> NDArray[np.int64]:
    if labels.ndim == 4 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    if labels.ndim != 3 or len(labels) != count or labels.size == 0:
        raise DatasetError(
            f"{name}: {count} samples and labels of shape {labels.shape}",
            hint="a segmentation needs a map of class indices (height, width) per sample",
        )
    if labels.dtype.kind not in "ui":
        raise DatasetError(f"{name}: labels are {labels.dtype}, not class indices")
    found = _not_negative(name, labels)
    if found.max() > IGNORED:
        raise DatasetError(
            f"{name}: a map holds the class {found.max()}",
            hint=f"classes are 0 to {IGNORED - 1}; {IGNORED} marks pixels that do not count",
        )
    if (found == IGNORED).all():
        raise DatasetError(f"{name}: every pixel is marked as not to count ({IGNORED})")
    return found


def _image_ids(name: str, count: int, labels: NDArray[Any]) -> NDArray[np.int64]:
    del name, count  # the source made them itself
    return labels.astype(np.int64)


def _not_negative(name: str, labels: NDArray[Any]) -> NDArray[np.int64]:
    found = labels.astype(np.int64)
    if found.min() < 0:
        raise DatasetError(f"{name}: a label is negative")
    return found


def _is_bool(labels: NDArray[Any]) -> bool:
    return labels.dtype.kind == "b"


_CHECKS: dict[Task, Callable[[str, int, NDArray[Any]], NDArray[Any]]] = {
    Task.CLASSIFICATION: _class_indices,
    Task.ANOMALY: _flags,
    Task.REGRESSION: _targets,
    Task.SEGMENTATION: _maps,
    Task.DETECTION: _image_ids,
}
