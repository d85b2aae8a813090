"""Loading a dataset's splits, and refusing what would give a wrong number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.labels import check_labels
from harness.domain import Dataset, Task
from harness.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Samples:
    """``samples`` (n, ...) as stored, ``labels`` as the task has them, and calibration samples.

    ``calibration`` is empty where the dataset declares none. ``class_names`` is empty where
    the source has none. ``truth`` holds annotated objects, in the format of COCO.
    """

    samples: NDArray[Any]
    labels: NDArray[Any]
    calibration: NDArray[Any]
    class_names: tuple[str, ...] = ()
    truth: Mapping[str, Any] = field(default_factory=dict)


Loader = Callable[[Dataset], Samples]


def load_dataset(
    dataset: Dataset, sources: Mapping[str, Loader], task: Task = Task.CLASSIFICATION
) -> Samples:
    """Load and check a dataset; raises ``DatasetError``.

    Refused: no samples, samples that are not numbers, not finite or of another type than
    the calibration's, labels that are not what the task needs or not one per sample, and
    calibration samples that are evaluation samples too.
    """
    if task is Task.RECONSTRUCTION:
        dataset = replace(dataset, labels_key="")
    loaded = sources[dataset.source](dataset)
    samples = loaded.samples
    name = f"dataset {dataset.name}"
    if samples.ndim < 2 or len(samples) == 0:
        raise DatasetError(f"{name}: needs samples of shape (n, ...), not {samples.shape}")
    if samples.dtype.kind not in "uif":
        raise DatasetError(f"{name}: samples are {samples.dtype}, not numbers")
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        raise DatasetError(f"{name}: samples hold NaN or infinite values")
    if (task is Task.DETECTION) != bool(loaded.truth):
        raise DatasetError(
            f"{name}: the source {dataset.source} has no labels for the task {task}",
            hint="detection needs a dataset of the source coco, and only detection does",
        )
    labels = check_labels(name, len(samples), loaded.labels, task)
    if dataset.limit:
        chosen = spread(len(samples), dataset.limit)
        samples = samples[chosen]
        labels = check_labels(name, len(samples), labels[chosen], task)
    calibration = loaded.calibration
    if len(calibration):
        if calibration.shape[1:] != samples.shape[1:] or calibration.dtype != samples.dtype:
            raise DatasetError(
                f"{name}: calibration samples are {calibration.dtype} {calibration.shape[1:]}, "
                f"evaluation samples {samples.dtype} {samples.shape[1:]}"
            )
        calibration = calibration[spread(len(calibration), dataset.calibration_samples)]
        _refuse_shared(name, samples, calibration)
    return Samples(
        np.ascontiguousarray(samples),
        labels,
        np.ascontiguousarray(calibration),
        loaded.class_names,
        loaded.truth,
    )


def spread(length: int, count: int) -> NDArray[np.int64]:
    """``count`` places evenly over the whole, so that sorted classes are all there."""
    return np.linspace(0, length - 1, min(length, count)).astype(np.int64)


def _refuse_shared(name: str, samples: NDArray[Any], calibration: NDArray[Any]) -> None:
    evaluated = {_digest(sample) for sample in samples}
    shared = [index for index, sample in enumerate(calibration) if _digest(sample) in evaluated]
    if shared:
        raise DatasetError(
            f"{name}: {len(shared)} of {len(calibration)} calibration samples are evaluation "
            f"samples too (the first is calibration sample {shared[0]})",
            hint="calibrate on a split of its own: shared samples flatter the accuracy",
        )


def _digest(sample: NDArray[Any]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(sample).data, digest_size=16).digest()
