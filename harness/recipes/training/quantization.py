"""Quantization-aware training: fine-tuning a model that computes as its integers will."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from harness.errors import ConversionError
from harness.recipes.training.data import (
    LayerReport,
    Settings,
    Tell,
    Trained,
    TrainingData,
    check_data,
    split,
)
from harness.recipes.training.fit import Fitted, Phase, built, evaluate, fit
from harness.recipes.training.graph import fold_dense_norms, require_graph
from harness.recipes.training.keras2 import to_keras2
from harness.recipes.training.objective import Objective, choose
from harness.recipes.training.preflight import preflight
from harness.recipes.training.ranges import calibrate
from harness.recipes.training.scheme import Preserve, emulate

_SHOWN = 6
#: Batches that the ranges of activations start from.
_LOOKED_AT = 8
_BATCH = 32

NOT_DEPLOYABLE = (
    "TensorFlow Lite has no kernels for {weights}-bit weights with {activations}-bit "
    "activations: the accuracy is that of the emulation, and there is no file to deploy"
)


def quantize_aware(model: Any, data: TrainingData, settings: Settings, tell: Tell) -> Trained:
    """Fine-tune ``model`` with emulated quantization.

    Raises ``ConversionError`` naming the layers that cannot be emulated, unless
    ``settings.partial``, or where nothing can be.
    """
    model, objective, before = start(model, data, settings, "quantization-aware training")
    layers = require_emulated(model, settings)
    fitted = emulated_fit(model, layers, objective, data, settings, tell, Phase("qat"))
    return finished(fitted, layers, settings, objective, before)


def start(
    model: Any, data: TrainingData, settings: Settings, what: str
) -> tuple[Any, Objective, dict[str, Any]]:
    """The model in Keras 2, its objective, and how well it does on the validation share."""
    model = to_keras2(model)
    require_graph(model, what)
    objective = choose(model, data)
    check_data(data, tuple(model.inputs[0].shape))
    rows, held = split(data, settings)
    objective.compile(model, settings.learning_rate)
    scores = dict(evaluate(model, objective, data, held))
    return (
        model,
        objective,
        {
            "metric_name": objective.metric_name,
            "samples": len(held),
            "training_samples": len(rows),
            **{f"float_{name}": value for name, value in scores.items()},
        },
    )


def require_emulated(model: Any, settings: Settings) -> tuple[LayerReport, ...]:
    """The preflight of a model that may be trained; raises ``ConversionError`` otherwise."""
    layers = preflight(model)
    refused = [layer for layer in layers if layer.status == "unsupported"]
    if refused and not settings.partial:
        raise ConversionError(
            f"quantization-aware training does not support {_named(refused)}",
            hint="train what can be with partial = true, or use a recipe without training, "
            "such as int8",
        )
    weighted = {layer.name for layer in model.layers if layer.trainable_weights}
    if not any(layer.status == "quantized" and layer.name in weighted for layer in layers):
        raise ConversionError(
            f"quantization-aware training has nothing to quantize in this model: "
            f"{_named(refused) if refused else 'no layer has weights'}",
            hint="use a recipe without training, such as int8",
        )
    return layers


def _named(layers: list[LayerReport]) -> str:
    shown = "; ".join(f"{layer.name} ({layer.type}): {layer.reason}" for layer in layers[:_SHOWN])
    more = len(layers) - _SHOWN
    return shown + (f"; and {more} layers more" if more > 0 else "")


def emulated_fit(
    model: Any,
    layers: tuple[LayerReport, ...],
    objective: Objective,
    data: TrainingData,
    settings: Settings,
    tell: Tell,
    phase: Phase,
    preserve: Preserve = "nothing",
) -> Fitted:
    """Train the emulation of ``model``."""
    folded = fold_dense_norms(model)
    annotated = frozenset(
        layer.name
        for layer in layers
        if layer.status != "unsupported" and layer.type != "InputLayer"
    )

    def build() -> Any:
        emulating = emulate(folded, annotated, preserve, settings)
        if ranges:
            emulating.set_weights(ranges)
        return emulating

    ranges: list[Any] = []
    calibrated = built(build, phase)
    rows = split(data, settings)[0]
    chosen = np.random.default_rng(settings.seed).permutation(rows)[: _LOOKED_AT * _BATCH]
    parts = np.array_split(chosen, -(-len(chosen) // _BATCH))
    calibrate(calibrated, (np.asarray(data.samples[part], np.float32) for part in parts))
    ranges = calibrated.get_weights()
    return fit(build, objective, data, settings, tell, phase)


def finished(
    fitted: Fitted,
    layers: tuple[LayerReport, ...],
    settings: Settings,
    objective: Objective,
    before: dict[str, Any],
) -> Trained:
    """The result of a training that ended in an emulation."""
    left = [layer for layer in layers if layer.status == "unsupported"]
    reason = ""
    if not settings.deployable_bits:
        reason = NOT_DEPLOYABLE.format(
            weights=settings.weight_bits, activations=settings.activation_bits
        )
    elif left:
        reason = (
            f"trained in float, and quantized only by calibration or not at all: {_named(left)}"
        )
    return Trained(
        model=fitted.model,
        history=fitted.history,
        best_epoch=fitted.best_epoch,
        layers=layers,
        needs_calibration=bool(left),
        deployable=settings.deployable_bits,
        reason=reason,
        evaluation={**before, **fitted.scores},
    )


def in_floats(
    fitted: Fitted, model: Any, layers: tuple[LayerReport, ...], evaluation: dict[str, Any]
) -> Trained:
    """The result of a training without an emulation: ``model`` is still to be quantized."""
    return Trained(
        model=model,
        history=fitted.history,
        best_epoch=fitted.best_epoch,
        layers=layers,
        needs_calibration=True,
        deployable=True,
        reason="",
        evaluation={**evaluation, **fitted.scores},
    )


def with_history(trained: Trained, earlier: list[dict[str, Any]]) -> Trained:
    """The same with an earlier phase's epochs before its own."""
    return replace(trained, history=[*earlier, *trained.history])
