"""What can be wrong with samples, before hours are spent on what they decide."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from harness.datasets.loading import Split, digest
from harness.domain.model import CALIBRATION_WANTED
from harness.errors import DatasetError

#: How the finding of too few samples begins.
TOO_FEW = "only"

#: A share of repeated samples above this is worth a word.
_REPEATED = 0.01


def lint(
    name: str,
    split: Split,
    *,
    what: str = "calibration",
    classes: int = 0,
    evaluation: NDArray[Any] | None = None,
    scale: float = 1.0,
) -> tuple[str, ...]:
    """What is suspicious, in words; nothing for samples that look right.

    ``what`` says what the samples are for: training needs no 100 of them to see a range.
    ``classes`` is how many there should be (0: unknown), ``evaluation`` are samples (n, ...) of
    what the model will see, ``scale`` is the preprocessing's. Raises ``DatasetError`` for a
    set that says nothing: one sample repeated, or samples that are all of one value.
    """
    samples = split.samples
    distinct = len({digest(sample) for sample in samples})
    if len(samples) > 1 and distinct == 1:
        raise DatasetError(
            f"{name}: its {len(samples)} {what} samples are one sample repeated",
            hint="does the file or the generator behind it return its first item every time?",
        )
    if samples.min() == samples.max():
        raise DatasetError(
            f"{name}: every value of its {what} samples is {samples.min()}",
            hint="use samples like those that the model will see",
        )
    found = []
    if len(samples) - distinct > _REPEATED * len(samples):
        found.append(f"{len(samples) - distinct} of {len(samples)} samples are repeated")
    if what == "calibration" and len(samples) < CALIBRATION_WANTED:
        found.append(
            f"{TOO_FEW} {len(samples)} samples; {CALIBRATION_WANTED} or more show the ranges better"
        )
    found += _range(samples, evaluation, scale)
    found += _classes(split, classes)
    return tuple(found)


def _range(samples: NDArray[Any], evaluation: NDArray[Any] | None, scale: float) -> list[str]:
    low, high = float(samples.min()), float(samples.max())
    if evaluation is not None:
        wanted = float(evaluation.min()), float(evaluation.max())
        width = max(wanted[1] - wanted[0], 1e-30)
        ratio = (high - low) / width
        if ratio < 0.5 or ratio > 2 or low > wanted[1] or high < wanted[0]:
            return [
                f"values from {low:g} to {high:g}, evaluation samples from {wanted[0]:g} to "
                f"{wanted[1]:g}"
            ]
    elif samples.dtype.kind == "f" and scale < 0.05 and high <= 2:
        return [
            f"values from {low:g} to {high:g}, and the preprocessing scales them by {scale:g} once "
            "more"
        ]
    elif samples.dtype.kind in "ui" and high <= 1:
        return [f"whole numbers from {low:g} to {high:g}: were they rounded after scaling?"]
    return []


def _classes(split: Split, classes: int) -> list[str]:
    """Missing classes, where there are samples enough for each."""
    if split.labels is None or classes == 0 or len(split.samples) < 2 * classes:
        return []
    missing = sorted(set(range(classes)) - {int(label) for label in split.labels})
    if not missing:
        return []
    names = dict(enumerate(split.class_names))
    named = ", ".join(str(names.get(label, label)) for label in missing[:10])
    named += "..." if len(missing) > 10 else ""
    return [f"no sample of {len(missing)} of {classes} classes ({named})"]
