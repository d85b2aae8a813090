"""Datasets as jobs need them: files by content for devices and conversions, labels here."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.cache import cache_dir, file_sha256, json_sha256, whole_file
from harness.datasets import SOURCES, Split, lint, load_dataset
from harness.devices.blobs import Blob
from harness.domain import Dataset, Model, Task
from harness.recipes import ChosenRecipe
from harness.recipes.making.request import StoredSplit


@dataclass(frozen=True, slots=True)
class Data:
    """A dataset as devices get it: one file of samples, and the labels that stay here.

    ``calibrations`` holds the calibration samples by their number, ``training`` the whole
    training split; both only where a recipe asked for them.
    """

    samples: Blob
    count: int
    sample_shape: tuple[int, ...]
    labels: NDArray[Any]
    labels_sha256: str
    class_names: tuple[str, ...]
    truth: Mapping[str, Any] = field(default_factory=dict)
    calibrations: dict[int, StoredSplit] = field(default_factory=dict)
    training: StoredSplit | None = None

    @property
    def classes(self) -> int:
        """How many classes the labels know; 0 where they are no class indices."""
        if self.labels.ndim != 1 or self.labels.dtype.kind not in "ui" or self.truth:
            return 0
        return max(len(self.class_names), int(self.labels.max()) + 1)


#: A dataset by its name and the task that its labels serve.
DataKey = tuple[str, Task]


def data_key(model: Model) -> DataKey:
    """Models of one key share their data."""
    return model.dataset, model.task


def load_data(dataset: Dataset, recipes: Iterable[ChosenRecipe], model: Model) -> Data:
    """Load what the recipes need of a dataset and keep it as files; raises ``DatasetError``."""
    wanted = list(recipes)
    counts = sorted({calibration_count(item, dataset) for item in wanted} - {0})
    training = any(item.recipe.needs_training for item in wanted)
    first = counts[0] if counts else 0
    loaded = load_dataset(dataset, SOURCES, model.task, calibration=first, training=training)
    samples = keep(loaded.samples, f"dataset {dataset.name}")
    data = Data(
        samples=samples,
        count=len(loaded.samples),
        sample_shape=loaded.samples.shape[1:],
        labels=loaded.labels,
        labels_sha256=labels_sha256(loaded.labels, loaded.evaluation.truth),
        class_names=loaded.evaluation.class_names,
        truth=loaded.evaluation.truth,
    )

    def looked_over(split: Split, what: str) -> StoredSplit:
        findings = lint(
            f"dataset {dataset.name}",
            split,
            what=what,
            classes=data.classes,
            evaluation=loaded.samples,
            scale=model.preprocessing.scale,
        )
        return store_split(split, what, findings)

    if loaded.training is not None:
        data = replace(data, training=looked_over(loaded.training, "training"))
    for count in counts:
        split = (
            loaded.calibration
            if count == first
            else load_dataset(dataset, SOURCES, model.task, calibration=count).calibration
        )
        assert split is not None
        data.calibrations[count] = looked_over(split, "calibration")
    return data


def calibration_count(chosen: ChosenRecipe, dataset: Dataset) -> int:
    """How many calibration samples a recipe takes: its own number, else the dataset's."""
    if not chosen.recipe.needs_calibration:
        return 0
    own = chosen["calibration"]
    assert isinstance(own, int)
    return own if "calibration" in chosen.given else dataset.calibration_samples


def store_split(split: Split, what: str, findings: tuple[str, ...] = ()) -> StoredSplit:
    """A split as files named by their content."""
    samples = keep(split.samples, what)
    labels = keep(split.labels, f"{what} labels") if split.labels is not None else None
    return StoredSplit(
        samples.path,
        samples.sha256,
        len(split.samples),
        labels.path if labels else None,
        labels.sha256 if labels else None,
        findings,
    )


def labels_sha256(labels: NDArray[Any], truth: Mapping[str, Any]) -> str:
    """The hash of labels, apart from how they are stored."""
    dtype = "<f8" if labels.dtype.kind == "f" else "<i8"
    digest = hashlib.sha256(labels.astype(dtype).tobytes())
    if truth:
        digest.update(json_sha256(truth).encode())
    return digest.hexdigest()


def keep(array: NDArray[Any], what: str) -> Blob:
    """A C-ordered array as a ``.npy`` of the cache that agents read, named by its content."""
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    digest = hashlib.sha256(head.getvalue())
    body = memoryview(array.data).cast("B")
    digest.update(body)
    path: Path = cache_dir("host", "datasets") / f"{digest.hexdigest()}.npy"
    size = head.tell() + len(body)
    if not path.exists() or file_sha256(path) != digest.hexdigest():
        with whole_file(path) as part, open(part, "wb") as stream:
            stream.write(head.getvalue())
            stream.write(body)
    return Blob(path, digest.hexdigest(), size, what)
