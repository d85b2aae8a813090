"""What the user brings: a trained model and labelled samples."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path


class Task(StrEnum):
    """What a model's outputs are held against, and so which accuracy metrics apply."""

    CLASSIFICATION = "classification"
    ANOMALY = "anomaly"
    RECONSTRUCTION = "reconstruction"
    REGRESSION = "regression"
    SEGMENTATION = "segmentation"
    DETECTION = "detection"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """From a stored sample to the model's float input: ``(sample * scale - mean) / std``.

    ``mean`` and ``std`` have one value, or one per channel (last axis), in units of the
    scaled sample.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.scale, *self.mean, *self.std))):
            raise ValueError("scale, mean and std must be finite numbers")
        if not self.mean or not self.std or any(value == 0 for value in self.std):
            raise ValueError("mean and std need at least one value, and std no zero")
        if len(self.mean) > 1 and len(self.std) > 1 and len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} values and std {len(self.std)}")


@dataclass(frozen=True, slots=True)
class Model:
    """A trained network as the user has it.

    ``source`` is a path, or ``builtin:NAME`` for a model that the harness makes itself.
    Its identity is the content hash that the reader in ``harness.models`` computes.
    ``output`` is the index of the output that accuracy looks at, needed where there are
    several (detection takes all of its four).
    """

    name: str
    source: str
    dataset: str
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    labels: tuple[str, ...] = ()
    task: Task = Task.CLASSIFICATION
    output: int | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled samples: an evaluation split and, from other samples, a calibration split.

    ``source`` names an entry of the datasets registry; the other fields are that source's
    settings. ``limit`` takes only so many samples, evenly spread (0: all).
    ``image_size`` is (height, width), for sources that resize; ``letterbox`` keeps the
    proportions and fills the rest. ``annotations`` is a COCO file with the ground truth.
    """

    name: str
    source: str
    path: Path | None = None
    calibration: Path | None = None
    samples_key: str = "images"
    labels_key: str = "labels"
    image_size: tuple[int, int] | None = None
    limit: int = 0
    calibration_samples: int = 200
    annotations: Path | None = None
    letterbox: bool = False
