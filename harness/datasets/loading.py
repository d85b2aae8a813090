"""Loading a dataset's splits, and refusing what would give a wrong number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.labels import LEARNS, check_labels
from harness.domain import Dataset, Task
from harness.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Split:
    """``samples`` (n, ...) as stored, ``labels`` as the task has them where there are any.

    ``class_names`` is empty where the source has none. ``truth`` holds annotated objects, in
    the format of COCO.
    """

    samples: NDArray[Any]
    labels: NDArray[Any] | None = None
    class_names: tuple[str, ...] = ()
    truth: Mapping[str, Any] = field(default_factory=dict)


#: ``(dataset, split)`` -> samples; split is ``evaluation``, ``calibration`` or ``training``.
#: What is costly to read may leave out what ``Dataset.taken(split)`` says is not wanted.
Loader = Callable[[Dataset, str], Split]


@dataclass(frozen=True, slots=True)
class Samples:
    """The checked splits of a dataset; ``calibration`` and ``training`` where asked for."""

    evaluation: Split
    calibration: Split | None = None
    training: Split | None = None

    @property
    def samples(self) -> NDArray[Any]:
        """The evaluation samples (n, ...) as stored."""
        return self.evaluation.samples

    @property
    def labels(self) -> NDArray[Any]:
        """The evaluation labels, as the task has them."""
        assert self.evaluation.labels is not None
        return self.evaluation.labels


def load_dataset(
    dataset: Dataset,
    sources: Mapping[str, Loader],
    task: Task = Task.CLASSIFICATION,
    *,
    calibration: int = 0,
    training: bool = False,
) -> Samples:
    """Load and check a dataset; raises ``DatasetError``.

    ``calibration`` samples are taken, spread evenly over their split; ``training`` takes all of
    its, or the dataset's ``training_samples``. Refused: no samples, samples that are not numbers,
    not finite or of another type than those of the other splits, other classes than theirs,
    labels that are not what the task needs or not one per sample, and evaluation samples that
    stand in another split too.
    """
    if task is Task.RECONSTRUCTION:
        dataset = replace(dataset, labels_key="")
    load = sources[dataset.source]
    name = f"dataset {dataset.name}"
    evaluation = checked(name, load(dataset, "evaluation"), task)
    if (task is Task.DETECTION) != bool(evaluation.truth):
        raise DatasetError(
            f"{name}: the source {dataset.source} has no labels for the task {task}",
            hint="detection needs a dataset of the source coco, and only detection does",
        )
    if dataset.limit:
        evaluation = _take(evaluation, spread(len(evaluation.samples), dataset.limit))
        assert evaluation.labels is not None
        check_labels(name, len(evaluation.samples), evaluation.labels, task)
    evaluated: set[bytes] | None = None
    others: dict[str, Split | None] = {"calibration": None, "training": None}
    for kind, wanted in (("calibration", calibration), ("training", training)):
        if not wanted:
            continue
        what = f"{name}: {kind}"
        learns = kind == "training" and task in LEARNS
        loaded = load(replace(dataset, calibration_samples=calibration), kind)
        if kind == "training" and task is Task.ANOMALY and loaded.labels is not None:
            # A detector of anomalies learns what is normal.
            loaded = _take(loaded, np.flatnonzero(np.asarray(loaded.labels).reshape(-1) == 0))
        split = checked(what, loaded, task, labels=learns)
        _refuse_unlike(what, split, evaluation)
        if kind == "calibration":
            split = _take(split, spread(len(split.samples), calibration))
        elif dataset.training_samples:
            split = _take(split, spread(len(split.samples), dataset.training_samples))
        evaluated = evaluated or {digest(sample) for sample in evaluation.samples}
        _refuse_shared(name, kind, split.samples, evaluated)
        others[kind] = split
    return Samples(evaluation, **others)


def load_split(
    dataset: Dataset,
    sources: Mapping[str, Loader],
    split: str,
    task: Task = Task.CLASSIFICATION,
    *,
    labels: bool = False,
    count: int = 0,
) -> Split:
    """One split by itself, ``count`` samples of it (0: all); class indices for classification.

    The training split of other tasks that learn from labels has to have them.
    Raises ``DatasetError``.
    """
    if count and split == "evaluation":
        dataset = replace(dataset, limit=min(count, dataset.limit or count))
    elif split == "calibration":
        dataset = replace(dataset, calibration_samples=count)
    loaded = sources[dataset.source](dataset, split)
    labels = labels or (split == "training" and task in LEARNS - {Task.CLASSIFICATION})
    found = checked(f"dataset {dataset.name}", loaded, task, labels=labels)
    count = count or (dataset.training_samples if split == "training" else 0)
    return _take(found, spread(len(found.samples), count)) if count else found


def checked(
    name: str, split: Split, task: Task = Task.CLASSIFICATION, *, labels: bool = True
) -> Split:
    """A split whose samples and labels can be used; raises ``DatasetError``.

    Where ``labels`` are not needed, those that are no class indices are left out; what
    learns without labels (see ``Task``) gets none.
    """
    samples = split.samples
    if samples.ndim < 2 or len(samples) == 0:
        raise DatasetError(f"{name}: needs samples of shape (n, ...), not {samples.shape}")
    if samples.dtype.kind not in "uif":
        raise DatasetError(f"{name}: samples are {samples.dtype}, not numbers")
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        raise DatasetError(f"{name}: samples hold NaN or infinite values")
    found: NDArray[Any] | None = None
    if labels:
        if split.labels is None and task is not Task.RECONSTRUCTION:
            raise DatasetError(f"{name}: there are no labels", hint="name them with labels_key")
        given = np.empty(0) if split.labels is None else np.asarray(split.labels)
        found = check_labels(name, len(samples), given, task)
    elif task is Task.CLASSIFICATION and np.asarray(split.labels).dtype.kind in "ui":
        found = check_labels(name, len(samples), np.asarray(split.labels), task)
    return replace(split, samples=np.ascontiguousarray(samples), labels=found)


def _take(split: Split, places: NDArray[np.int64]) -> Split:
    labels = None if split.labels is None else split.labels[places]
    return replace(split, samples=np.ascontiguousarray(split.samples[places]), labels=labels)


def _refuse_unlike(what: str, split: Split, evaluation: Split) -> None:
    samples, evaluated = split.samples, evaluation.samples
    if samples.shape[1:] != evaluated.shape[1:] or samples.dtype != evaluated.dtype:
        raise DatasetError(
            f"{what} samples are {samples.dtype} {samples.shape[1:]}, "
            f"evaluation samples {evaluated.dtype} {evaluated.shape[1:]}"
        )
    if split.class_names != evaluation.class_names:
        raise DatasetError(
            f"{what} classes are not those of the evaluation samples: "
            f"{', '.join(split.class_names[:10])} against {', '.join(evaluation.class_names[:10])}"
        )


def spread(length: int, count: int) -> NDArray[np.int64]:
    """``count`` places evenly over the whole, so that sorted classes are all there."""
    return np.linspace(0, length - 1, min(length, count)).astype(np.int64)


def refuse_shared(name: str, split: str, samples: NDArray[Any], evaluation: NDArray[Any]) -> None:
    """Refuse samples of a ``split`` that are evaluated too; raises ``DatasetError``."""
    _refuse_shared(name, split, samples, {digest(sample) for sample in evaluation})


def _refuse_shared(name: str, split: str, samples: NDArray[Any], evaluated: set[bytes]) -> None:
    shared = [index for index, sample in enumerate(samples) if digest(sample) in evaluated]
    if shared:
        verb = "calibrate" if split == "calibration" else "train"
        raise DatasetError(
            f"{name}: {len(shared)} of {len(samples)} {split} samples are evaluation "
            f"samples too (the first is {split} sample {shared[0]})",
            hint=f"{verb} on a split of its own: shared samples flatter the accuracy",
        )


def digest(sample: NDArray[Any]) -> bytes:
    """A hash of one sample's bytes."""
    return hashlib.blake2b(np.ascontiguousarray(sample).data, digest_size=16).digest()
