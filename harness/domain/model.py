"""What the user brings: a trained model and labelled samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

COLOURS = ("rgb", "bgr", "gray")
LAYOUTS = ("nhwc", "nchw")
RESIZES = ("bilinear", "nearest", "bicubic", "area", "crop", "letterbox")


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

    ``colour``, ``layout`` and ``resize`` say of what kind the stored samples are, which an app
    has to make alike; empty where nobody said. ``crop`` cuts the middle out after scaling the
    shorter side, ``letterbox`` scales the longer side and fills up.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    colour: str = ""
    layout: str = ""
    resize: str = ""

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, (self.scale, *self.mean, *self.std))):
            raise ValueError("scale, mean and std must be finite numbers")
        if not self.mean or not self.std or any(value == 0 for value in self.std):
            raise ValueError("mean and std need at least one value, and std no zero")
        if len(self.mean) > 1 and len(self.std) > 1 and len(self.mean) != len(self.std):
            raise ValueError(f"mean has {len(self.mean)} values and std {len(self.std)}")
        for name, known in (("colour", COLOURS), ("layout", LAYOUTS), ("resize", RESIZES)):
            if getattr(self, name) not in ("", *known):
                raise ValueError(f"{name} is one of {', '.join(known)}, or left out")

    @property
    def identity(self) -> bool:
        """Whether samples go into the model as they are, and nothing else is said of them."""
        return (
            self.scale == 1
            and not any(self.mean)
            and all(value == 1 for value in self.std)
            and not (self.colour or self.layout or self.resize)
        )

    def as_json(self) -> dict[str, Any]:
        """As a JSON value; what is not said is left out, so that what was hashed stays so."""
        value = asdict(self)
        value.update(mean=list(self.mean), std=list(self.std))
        return {
            name: part
            for name, part in value.items()
            if part or name not in ("colour", "layout", "resize")
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Preprocessing:
        """The inverse of ``as_json``; raises ``ValueError`` or ``TypeError`` for anything else."""
        fields = dict(value)
        for name in ("mean", "std"):
            if name in fields:
                fields[name] = tuple(float(part) for part in fields[name])
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Model:
    """A trained network as the user has it.

    ``source`` is a path, ``builtin:NAME`` for a model that the harness makes itself,
    ``keras:ARCHITECTURE``, or ``package.module:function`` for a Python factory, whose module
    is looked for below ``base`` first. Where no preprocessing was given, a ready file's own
    counts. Its identity is the hash that the reader in ``harness.models`` computes.
    ``output`` is the index of the output that accuracy looks at, needed where there are
    several (detection takes all of its four). A ``canary`` is measured to watch the devices:
    it never changes, so that what it shows is a device's own.
    """

    name: str
    source: str
    dataset: str
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    labels: tuple[str, ...] = ()
    base: str = ""
    preprocessing_given: bool = True
    task: Task = Task.CLASSIFICATION
    output: int | None = None
    canary: bool = False


#: Fewer calibration samples than this rarely show the whole range of the activations.
CALIBRATION_WANTED = 100


@dataclass(frozen=True, slots=True)
class Dataset:
    """Labelled samples: an evaluation split and, from other samples, two splits more.

    ``calibration`` sets the ranges of integer recipes (the training split where it is not
    given), ``training`` is what recipes that train fine-tune on.

    ``source`` names an entry of the datasets registry; the other fields are that source's
    settings. ``limit`` takes only so many samples, evenly spread (0: all), and so do
    ``calibration_samples`` and ``training_samples`` for their splits.
    ``image_size`` is (height, width), for sources that resize; ``letterbox`` keeps the
    proportions and fills the rest. ``annotations`` is a COCO file with the ground truth.
    """

    name: str
    source: str
    path: Path | None = None
    calibration: Path | None = None
    training: Path | None = None
    samples_key: str = "images"
    labels_key: str = "labels"
    image_size: tuple[int, int] | None = None
    limit: int = 0
    calibration_samples: int = 200
    annotations: Path | None = None
    letterbox: bool = False
    crop: bool = False
    bgr: bool = False
    unlabelled: bool = False
    training_samples: int = 0

    def taken(self, split: str, count: int) -> int:
        """How many of the ``count`` samples of a split are wanted."""
        most = {
            "evaluation": self.limit,
            "calibration": self.calibration_samples,
            "training": self.training_samples,
        }[split]
        return min(most or count, count)

    def split_path(self, split: str) -> Path | None:
        """Where ``evaluation``, ``calibration`` or ``training`` samples come from."""
        return {
            "evaluation": self.path,
            "calibration": self.calibration or self.training,
            "training": self.training,
        }[split]
