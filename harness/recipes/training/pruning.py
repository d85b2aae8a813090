"""Magnitude pruning: the smallest weights of each kernel become zero and stay zero."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.errors import ConversionError, UsageError
from harness.recipes.training.data import LayerReport, Settings, Tell, Trained, TrainingData
from harness.recipes.training.fit import Phase, fit, steps_per_epoch
from harness.recipes.training.quantization import (
    emulated_fit,
    finished,
    in_floats,
    require_emulated,
    start,
    with_history,
)

#: Layers whose kernels are pruned. Depthwise kernels are too small for it.
PRUNED = {
    "Conv1D": "kernel",
    "Conv2D": "kernel",
    "Conv3D": "kernel",
    "Conv2DTranspose": "kernel",
    "Dense": "kernel",
}
#: The share of a training in which the sparsity rises to what was asked for.
_RAMP = 0.5
_UPDATES = 20
#: What rounding to whole weights may take off the sparsity of a small kernel.
_WEIGHTS_OFF = 1.5


def prune(
    model: Any,
    data: TrainingData,
    settings: Settings,
    tell: Tell,
    *,
    sparsity: float = 0.5,
    qat: bool = False,
) -> Trained:
    """Prune while fine-tuning; with ``qat``, then train with emulated quantization.

    ``evaluation["sparsity"]`` holds the share of zeros per pruned layer, verified on the
    final model. Raises ``ConversionError`` where a kernel is not as sparse as asked for.
    """
    if not 0 < sparsity < 1:
        raise UsageError(f"sparsity is a share between 0 and 1, not {sparsity}")
    model, objective, before = start(model, data, settings, "pruning")
    report = _reports(model)
    if qat:
        layers = require_emulated(model, settings)
    before["not_pruned"] = {
        layer.name: layer.reason for layer in report if layer.status == "unsupported"
    }
    chosen = {layer.name for layer in report if layer.status != "unsupported"}
    if not chosen:
        raise ConversionError(
            "pruning has nothing to prune in this model: no convolution or Dense layer",
            hint="use a recipe without pruning, such as int8",
        )
    steps = steps_per_epoch(data, settings)
    ramp = max(1, int(settings.epochs * steps * _RAMP))

    def build() -> Any:
        return _pruning(model, chosen, sparsity, ramp)

    phase = Phase(
        "prune",
        count=2 if qat else 1,
        keep_from=min(settings.epochs, -(-ramp // steps) + 1),
        callbacks=_callbacks,
    )
    fitted = fit(build, objective, data, settings, tell, phase)
    pruned = _strip(fitted.model)
    found = _verify(pruned, chosen, sparsity)
    if not qat:
        return in_floats(fitted, pruned, report, {**before, "sparsity": found})
    emulated = emulated_fit(
        pruned, layers, objective, data, settings, tell, Phase("qat", 1, 2), "sparsity"
    )
    trained = finished(emulated, layers, settings, objective, before)
    trained.evaluation["sparsity"] = _verify(emulated.model, chosen, sparsity)
    return with_history(trained, fitted.history)


def _reports(model: Any) -> tuple[LayerReport, ...]:
    found = []
    for layer in model.layers:
        kind = type(layer).__name__
        if kind in PRUNED:
            found.append(LayerReport(layer.name, kind, "passed through", "its kernel is pruned"))
        elif layer.trainable_weights and kind != "BatchNormalization":
            reason = f"{kind} layers are not pruned"
            found.append(LayerReport(layer.name, kind, "unsupported", reason))
    return tuple(found)


def _pruning(model: Any, chosen: set[str], sparsity: float, ramp: int) -> Any:
    import tf_keras
    from tensorflow_model_optimization.sparsity import keras as sparse

    schedule = sparse.PolynomialDecay(
        initial_sparsity=0.0,
        final_sparsity=sparsity,
        begin_step=0,
        end_step=ramp,
        frequency=max(1, ramp // _UPDATES),
    )

    def wrap(layer: Any) -> Any:
        copy = type(layer).from_config(layer.get_config())
        if layer.name not in chosen:
            return copy
        return sparse.prune_low_magnitude(copy, pruning_schedule=schedule)

    wrapped = tf_keras.models.clone_model(model, clone_function=wrap)
    for layer, original in zip(wrapped.layers, model.layers, strict=True):
        getattr(layer, "layer", layer).set_weights(original.get_weights())
    return wrapped


def _callbacks() -> list[Any]:
    from tensorflow_model_optimization.sparsity import keras as sparse

    return [sparse.UpdatePruningStep()]


def _strip(model: Any) -> Any:
    from tensorflow_model_optimization.sparsity import keras as sparse

    return sparse.strip_pruning(model)


def _verify(model: Any, chosen: set[str], sparsity: float) -> dict[str, float]:
    """The share of zeros of each pruned kernel; raises where one has fewer than asked for."""
    found: dict[str, float] = {}
    for name, kernel in kernels(model, chosen).items():
        found[name] = round(float(np.mean(kernel == 0)), 4)
        if np.count_nonzero(kernel == 0) < sparsity * kernel.size - _WEIGHTS_OFF:
            raise ConversionError(
                f"layer {name} ended with a sparsity of {found[name]:.1%}, not {sparsity:.1%}",
                hint="train for more epochs or on more samples",
            )
    return found


def kernels(model: Any, chosen: set[str]) -> dict[str, Any]:
    """The kernels of these layers by the layers' own names, wrapped in an emulation or not."""
    found = {}
    for layer in model.layers:
        inner = getattr(layer, "layer", layer)
        if inner.name in chosen:
            name = PRUNED[type(inner).__name__]
            found[inner.name] = next(
                weight.numpy() for weight in layer.weights if _is_named(weight, name)
            )
    return found


def _is_named(weight: Any, name: str) -> bool:
    return bool(weight.name.split(":")[0].split("/")[-1] == name)
