"""What goes into a training and what comes out of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import ConversionError, UsageError

#: Takes progress: ``phase``, ``epoch``, ``epochs``, ``step``, ``steps``, ``remaining_seconds``...
Tell = Callable[[dict[str, Any]], None]

Status = Literal["quantized", "folded", "passed through", "unsupported"]

_LOOKED_AT = 1024


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Samples as the model takes them, and labels; without labels the input is the target.

    ``labels`` are class indices (n,), maps of them (n, height, width) or, where they are
    floats, the values of the output. ``samples`` may be memory-mapped: only one batch at
    a time is copied.
    """

    samples: NDArray[Any]
    labels: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """How to train. Pruning and clustering followed by QAT train ``epochs`` twice.

    ``validation`` is the share of the training samples that is held out, never fewer than
    one sample; 0 holds none out, and the training loss then decides. ``checkpoint`` is a
    folder: a matching state in it is resumed from. ``replicas`` counts only when mirrored.
    """

    epochs: int = 2
    learning_rate: float = 1e-4
    batch_size: int = 64
    validation: float = 0.1
    seed: int = 0
    strategy: Literal["none", "mirrored"] = "none"
    replicas: int = 2
    partial: bool = False
    weight_bits: int = 8
    activation_bits: int = 8
    tensorboard: Path | None = None
    checkpoint: Path | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "replicas"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise UsageError(f"learning_rate must be above 0, not {self.learning_rate}")
        if not 0 <= self.validation < 1:
            raise UsageError(f"validation is a share below 1, not {self.validation}")
        if self.strategy not in ("none", "mirrored"):
            raise UsageError(f"strategy is none or mirrored, not {self.strategy}")
        for name in ("weight_bits", "activation_bits"):
            if not 2 <= getattr(self, name) <= 8:
                raise UsageError(f"{name} must be from 2 to 8, not {getattr(self, name)}")

    @property
    def deployable_bits(self) -> bool:
        """Whether TensorFlow Lite has kernels for these widths."""
        return self.weight_bits == 8 and self.activation_bits == 8


@dataclass(frozen=True, slots=True)
class LayerReport:
    """What happens to one layer, and why."""

    name: str
    type: str
    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Trained:
    """A trained ``tf_keras`` model with the weights of its best epoch.

    ``history`` has one entry per epoch: ``phase``, ``epoch``, ``loss``, ``metric``,
    ``val_loss``, ``val_metric``, ``seconds``. ``best_epoch`` counts from 1, within the last
    phase. ``layers`` says of each what was done to it. ``needs_calibration``: ranges are
    missing, so the conversion needs a representative dataset. ``evaluation`` holds, over
    the validation share: ``metric_name``, ``loss``, ``metric``, ``float_loss``,
    ``float_metric``, ``samples``; and per kernel what was promised.
    """

    model: Any
    history: list[dict[str, Any]]
    best_epoch: int
    layers: tuple[LayerReport, ...]
    needs_calibration: bool
    deployable: bool
    reason: str
    evaluation: dict[str, Any]


def split(data: TrainingData, settings: Settings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices to train on and to validate with: seeded, in the classes' own proportions."""
    count = len(data.samples)
    held = min(max(1, round(count * settings.validation)), count - 1) if settings.validation else 0
    if count < 1 or (settings.validation and count < 2):
        raise ConversionError(
            f"the training split has {count} samples, too few to train and to validate with",
            hint="give more training samples",
        )
    order = np.random.default_rng(settings.seed).permutation(count)
    if data.labels is not None and data.labels.ndim == 1:
        order = order[np.argsort(data.labels[order], kind="stable")]
    chosen = np.zeros(count, dtype=bool)
    if held:
        chosen[np.floor((np.arange(held) + 0.5) * count / held).astype(np.int64)] = True
    return np.sort(order[~chosen]), np.sort(order[chosen])


def check_data(data: TrainingData, input_shape: tuple[int | None, ...]) -> None:
    """Raise ``ConversionError`` where the samples cannot be the model's input."""
    expected = tuple(input_shape[1:])
    shape = tuple(data.samples.shape[1:])
    fits = len(shape) == len(expected) and all(
        want in (None, have) for want, have in zip(expected, shape, strict=True)
    )
    if not fits:
        raise ConversionError(
            f"training samples of shape {shape} do not fit the model's input {expected}"
        )
    if data.labels is not None and len(data.labels) != len(data.samples):
        raise ConversionError(
            f"{len(data.samples)} training samples have {len(data.labels)} labels"
        )
    for start in range(0, len(data.samples), _LOOKED_AT):
        if not np.isfinite(data.samples[start : start + _LOOKED_AT]).all():
            raise ConversionError(
                f"training samples {start} to {start + _LOOKED_AT - 1} hold NaN or infinite values",
                hint="check the dataset and the preprocessing of the model",
            )
