"""Loading a dataset's splits, and refusing what would give a wrong number."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.domain import Dataset
from harness.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Split:
    """``samples`` (n, ...) as stored, ``labels`` (n,) where there are any, class names."""

    samples: NDArray[Any]
    labels: NDArray[Any] | None = None
    class_names: tuple[str, ...] = ()


#: ``(dataset, split)`` -> samples; split is ``evaluation``, ``calibration`` or ``training``.
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
    def labels(self) -> NDArray[np.int64]:
        """The evaluation labels (n,), class indices."""
        assert self.evaluation.labels is not None
        return self.evaluation.labels


def load_dataset(
    dataset: Dataset,
    sources: Mapping[str, Loader],
    *,
    calibration: int = 0,
    training: bool = False,
) -> Samples:
    """Load and check a dataset; raises ``DatasetError``.

    ``calibration`` samples are taken, spread evenly over their split; ``training`` takes all of
    its. Refused: no samples, samples that are not numbers, not finite or of another type than
    those of the other splits, labels that are not class indices or not one per sample, and
    evaluation samples that stand in another split too.
    """
    load = sources[dataset.source]
    evaluation = checked(f"dataset {dataset.name}", load(dataset, "evaluation"))
    if dataset.limit:
        evaluation = _take(evaluation, spread(len(evaluation.samples), dataset.limit))
    evaluated: set[bytes] | None = None
    others: dict[str, Split | None] = {"calibration": None, "training": None}
    for name, wanted in (("calibration", calibration), ("training", training)):
        if not wanted:
            continue
        what = f"dataset {dataset.name}: {name}"
        split = checked(what, load(dataset, name), labels=name == "training")
        _refuse_unlike(what, split.samples, evaluation.samples)
        if name == "calibration":
            split = _take(split, spread(len(split.samples), calibration))
        evaluated = evaluated or {digest(sample) for sample in evaluation.samples}
        _refuse_shared(f"dataset {dataset.name}", name, split.samples, evaluated)
        others[name] = split
    return Samples(evaluation, **others)


def load_split(
    dataset: Dataset,
    sources: Mapping[str, Loader],
    split: str,
    *,
    labels: bool = False,
    count: int = 0,
) -> Split:
    """One split by itself, ``count`` samples of it (0: all); raises ``DatasetError``."""
    found = checked(
        f"dataset {dataset.name}", sources[dataset.source](dataset, split), labels=labels
    )
    return _take(found, spread(len(found.samples), count)) if count else found


def checked(name: str, split: Split, *, labels: bool = True) -> Split:
    """A split whose samples and labels can be used; raises ``DatasetError``."""
    samples = split.samples
    if samples.ndim < 2 or len(samples) == 0:
        raise DatasetError(f"{name}: needs samples of shape (n, ...), not {samples.shape}")
    if samples.dtype.kind not in "uif":
        raise DatasetError(f"{name}: samples are {samples.dtype}, not numbers")
    if samples.dtype.kind == "f" and not np.isfinite(samples).all():
        raise DatasetError(f"{name}: samples hold NaN or infinite values")
    found = None
    if split.labels is not None:
        found = _class_indices(name, np.asarray(split.labels), len(samples))
    elif labels:
        raise DatasetError(f"{name}: there are no labels", hint="name them with labels_key")
    return Split(np.ascontiguousarray(samples), found, split.class_names)


def _class_indices(name: str, labels: NDArray[Any], count: int) -> NDArray[np.int64]:
    if labels.ndim == 2 and 1 in labels.shape:
        labels = labels.reshape(-1)
    if labels.shape != (count,):
        raise DatasetError(
            f"{name}: {count} samples and labels of shape {labels.shape}",
            hint="labels must be one class index per sample",
        )
    if labels.dtype.kind not in "ui":
        raise DatasetError(f"{name}: labels are {labels.dtype}, not class indices")
    labels = labels.astype(np.int64)
    if labels.min() < 0:
        raise DatasetError(f"{name}: a label is negative")
    return labels


def _take(split: Split, places: NDArray[np.int64]) -> Split:
    labels = None if split.labels is None else split.labels[places]
    return Split(np.ascontiguousarray(split.samples[places]), labels, split.class_names)


def _refuse_unlike(what: str, samples: NDArray[Any], evaluated: NDArray[Any]) -> None:
    if samples.shape[1:] != evaluated.shape[1:] or samples.dtype != evaluated.dtype:
        raise DatasetError(
            f"{what} samples are {samples.dtype} {samples.shape[1:]}, "
            f"evaluation samples {evaluated.dtype} {evaluated.shape[1:]}"
        )


def spread(length: int, count: int) -> NDArray[np.int64]:
    """``count`` places evenly over the whole, so that sorted classes are all there."""
    return np.linspace(0, length - 1, min(length, count)).astype(np.int64)


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
