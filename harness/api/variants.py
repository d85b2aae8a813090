"""Variants: made, looked into, and what training would do with a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.config.sources import named_dataset, source_model
from harness.domain import Preprocessing
from harness.models.inspection import Inspection, inspect_file
from harness.orchestrate import convert as conversion
from harness.orchestrate.convert import Converted
from harness.orchestrate.preflight import preflight as look_over
from harness.recipes.making.process import TIMEOUT


def convert(
    model: str,
    recipes: str | Sequence[str],
    out: str | Path,
    *,
    calibration: str | None = None,
    training: str | None = None,
    preprocessing: Preprocessing | None = None,
    labels: str | Path | None = None,
    task: str = "classification",
    image_size: tuple[int, int] | None = None,
    done: Callable[[Converted], None] = lambda converted: None,
    progress: Callable[[str, Mapping[str, Any]], None] = lambda recipe, said: None,
    stopped: Callable[[], bool] = lambda: False,
    timeout: float = TIMEOUT,
    memory_limit_gb: float = 0,
    tensorboard: str | Path | None = None,
) -> list[Converted]:
    """Convert a model into ``.tflite`` files in ``out``, one per recipe, with their manifests.

    ``model`` is whatever a suite's ``file`` may be; ``recipes`` may hold ``"all"``;
    ``calibration`` and ``training`` are an ``.npz``, a folder of images or ``"digits"``.
    Raises ``UsageError`` for what can never work; a conversion that fails is in the result.
    """
    return conversion.convert(
        source_model(model, preprocessing, labels, task),
        [recipes] if isinstance(recipes, str) else recipes,
        Path(out),
        conversion.Splits(
            named_dataset("calibration", calibration, image_size),
            named_dataset("training", training, image_size),
        ),
        done=done,
        progress=progress,
        stopped=stopped,
        timeout=timeout,
        memory_limit=int(memory_limit_gb * 1e9),
        tensorboard=Path(tensorboard).absolute() if tensorboard else None,
    )


def preflight(model: str) -> Sequence[Mapping[str, Any]]:
    """What quantization-aware training would do with each layer: name, type, status, reason."""
    return look_over(source_model(model))


def inspect(file: str | Path) -> Inspection:
    """What is in a ``.tflite`` file: ``.as_dict()`` holds all of it.

    Raises ``ModelError`` for a damaged or foreign file.
    """
    return inspect_file(Path(file))
