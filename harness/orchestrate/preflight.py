"""What quantization-aware training will do with each layer: what ``harness preflight`` shows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.domain import Model
from harness.errors import ConversionError, UsageError
from harness.orchestrate.convert import found_model
from harness.recipes.making.messages import shorten
from harness.recipes.making.process import Worker
from harness.recipes.making.request import installed


def preflight(model: Model) -> Sequence[Mapping[str, Any]]:
    """``name``, ``type``, ``status`` and ``reason`` of every layer, without training.

    Raises ``UsageError`` for a model without a graph of layers to look at.
    """
    resolved = found_model(model)
    if not resolved.convertible:
        raise UsageError(
            f"{model.name} is a ready .tflite file, which cannot be trained any more",
            hint="name the Keras model that it was made of",
        )
    installed(("tensorflow", "tf-keras", "tensorflow-model-optimization"))
    task = {
        "task": "preflight",
        "source": resolved.model.source,
        "base": resolved.model.base,
        "format": resolved.format,
    }
    with Worker(training=True) as worker:
        number = worker.submit(task)
        for _, message in worker.messages():
            if message.get("ok") is False:
                raise ConversionError(
                    f"{model.name}: {shorten(message['error'])}", hint=message.get("hint")
                )
        layers: Sequence[Mapping[str, Any]] = json.loads(Path(worker.part(number)).read_text())
    return layers
