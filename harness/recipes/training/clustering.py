"""Weight clustering: every kernel gets a few shared values, which compress well."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from harness.errors import ConversionError, UsageError
from harness.recipes.training.data import LayerReport, Settings, Tell, Trained, TrainingData
from harness.recipes.training.fit import Phase, fit
from harness.recipes.training.pruning import PRUNED, kernels
from harness.recipes.training.quantization import (
    emulated_fit,
    finished,
    in_floats,
    require_emulated,
    start,
    with_history,
)


def cluster(
    model: Any,
    data: TrainingData,
    settings: Settings,
    tell: Tell,
    *,
    clusters: int = 16,
    qat: bool = False,
) -> Trained:
    """Cluster and fine-tune; with ``qat``, then train with emulated quantization.

    ``evaluation["unique_weights"]`` holds the number of values per clustered kernel,
    verified on the final model. Raises ``ConversionError`` where there are more than asked for.
    """
    if clusters < 2:
        raise UsageError(f"clusters must be at least 2, not {clusters}")
    if settings.strategy != "none":
        raise ConversionError(
            "clustering does not train on several devices: its centroids are not synchronised",
            hint="use strategy none",
        )
    model, objective, before = start(model, data, settings, "clustering")
    report = _reports(model, clusters)
    if qat:
        layers = require_emulated(model, settings)
    before["not_clustered"] = {
        layer.name: layer.reason for layer in report if layer.status == "unsupported"
    }
    chosen = {layer.name for layer in report if layer.status != "unsupported"}
    if not chosen:
        raise ConversionError(
            f"clustering has nothing to do in this model: no convolution or Dense layer has "
            f"more than {clusters} weights",
            hint="use a recipe without clustering, such as int8",
        )

    def build() -> Any:
        return _clustering(model, chosen, clusters)

    phase = Phase("cluster", count=2 if qat else 1)
    fitted = fit(build, objective, data, settings, tell, phase)
    clustered = _strip(fitted.model)
    found = _verify(clustered, chosen, clusters)
    if not qat:
        return in_floats(fitted, clustered, report, {**before, "unique_weights": found})
    emulated = emulated_fit(
        clustered, layers, objective, data, settings, tell, Phase("qat", 1, 2), "clusters"
    )
    emulated = dataclasses.replace(emulated, model=_strip_emulated(emulated.model))
    trained = finished(emulated, layers, settings, objective, before)
    trained.evaluation["unique_weights"] = _verify(emulated.model, chosen, clusters)
    return with_history(trained, fitted.history)


def _reports(model: Any, clusters: int) -> tuple[LayerReport, ...]:
    found = []
    for layer in model.layers:
        kind = type(layer).__name__
        if kind in PRUNED and int(np.prod(layer.kernel.shape)) > clusters:
            reason = f"its kernel gets {clusters} values"
            found.append(LayerReport(layer.name, kind, "passed through", reason))
        elif layer.trainable_weights and kind != "BatchNormalization":
            small = "its kernel has no more weights than clusters"
            reason = small if kind in PRUNED else f"{kind} layers are not clustered"
            found.append(LayerReport(layer.name, kind, "unsupported", reason))
    return tuple(found)


def _clustering(model: Any, chosen: set[str], clusters: int) -> Any:
    import tf_keras
    from tensorflow_model_optimization.clustering import keras as clustering

    # Clustering takes the centroids from the weights when it wraps a layer, so the layers
    # are copied with their weights first.
    copy = tf_keras.models.clone_model(model)
    copy.set_weights(model.get_weights())

    def wrap(layer: Any) -> Any:
        if layer.name not in chosen:
            return layer
        return clustering.cluster_weights(
            layer,
            number_of_clusters=clusters,
            cluster_centroids_init=clustering.CentroidInitialization.LINEAR,
        )

    return tf_keras.models.clone_model(copy, clone_function=wrap)


def _strip(model: Any) -> Any:
    from tensorflow_model_optimization.clustering.keras import strip_clustering

    return strip_clustering(model)


def _strip_emulated(model: Any) -> Any:
    from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (  # noqa: E501
        cluster_utils,
    )

    return cluster_utils.strip_clustering_cqat(model)


def _verify(model: Any, chosen: set[str], clusters: int) -> dict[str, int]:
    """The number of values in each clustered kernel; raises where there are too many."""
    found = {name: len(np.unique(kernel)) for name, kernel in kernels(model, chosen).items()}
    for name, values in found.items():
        if values > clusters:
            raise ConversionError(f"layer {name} ended with {values} values instead of {clusters}")
    return found
