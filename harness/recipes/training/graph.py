"""The graph of layers of a tf-keras model: who calls what, and Dense layers made ready.

A ``BatchNormalization`` after a convolution is folded by the converter, whose per-channel
scales take it up exactly. After a ``Dense`` layer, whose scale is per tensor, it would stay
a float operation: it is folded into the weights before training instead.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.errors import ConversionError


def has_graph(model: Any) -> bool:
    """Whether the model is Sequential or functional, and built."""
    return bool(getattr(model, "_is_graph_network", False)) and bool(model.built)


def calls(model: Any, layer: Any) -> list[Any]:
    """The nodes of this model's graph in which ``layer`` is called."""
    return [
        node for nodes in model._nodes_by_depth.values() for node in nodes if node.layer is layer
    ]


def feeders(model: Any, layer: Any) -> list[Any]:
    """The layers whose outputs ``layer`` takes, in every call."""
    import tensorflow as tf

    found: list[Any] = []
    for node in calls(model, layer):
        found.extend(tf.nest.flatten(node.inbound_layers))
    return found


def consumers(model: Any, layer: Any) -> int:
    """How many layers and model outputs take the output of ``layer``."""
    used = sum(
        other is layer
        for nodes in model._nodes_by_depth.values()
        for node in nodes
        for other in _inbound(node)
    )
    return used + sum(output._keras_history[0] is layer for output in model.outputs)


def _inbound(node: Any) -> list[Any]:
    import tensorflow as tf

    return [] if node.is_input else list(tf.nest.flatten(node.inbound_layers))


def foldable_into(model: Any, norm: Any, kinds: frozenset[str]) -> Any | None:
    """The layer of one of these ``kinds`` that a ``BatchNormalization`` can be folded into."""
    before = feeders(model, norm)
    if len(before) != 1 or len(calls(model, norm)) != 1:
        return None
    (layer,) = before
    fits = (
        layer.__class__.__name__ in kinds
        and len(calls(model, layer)) == 1
        and consumers(model, layer) == 1
        and getattr(layer.activation, "__name__", None) == "linear"
    )
    return layer if fits else None


_DENSE = frozenset({"Dense"})


def fold_dense_norms(model: Any) -> Any:
    """The same function without ``BatchNormalization`` after ``Dense``."""
    pairs = {}
    for norm in model.layers:
        if norm.__class__.__name__ == "BatchNormalization":
            dense = foldable_into(model, norm, _DENSE)
            if dense is not None and tuple(norm.axis) == (len(norm.input_shape) - 1,):
                pairs[norm.name] = dense
    if not pairs:
        return model
    config = model.get_config()
    config["layers"] = [
        layer for layer in config["layers"] if layer["config"].get("name") not in pairs
    ]
    for layer in config["layers"]:
        if layer["config"].get("name") in {dense.name for dense in pairs.values()}:
            layer["config"]["use_bias"] = True
    renamed = {norm: dense.name for norm, dense in pairs.items()}
    for layer in config["layers"]:
        if "inbound_nodes" in layer:
            layer["inbound_nodes"] = _redirect(layer["inbound_nodes"], renamed)
    if "output_layers" in config:
        config["output_layers"] = _redirect(config["output_layers"], renamed)
    folded = model.__class__.from_config(config)
    merged = {dense.name: model.get_layer(norm) for norm, dense in pairs.items()}
    for layer in folded.layers:
        original = model.get_layer(layer.name)
        if layer.name in merged:
            layer.set_weights(_merge(original, merged[layer.name]))
        else:
            layer.set_weights(original.get_weights())
    return folded


def _redirect(value: Any, renamed: dict[str, str]) -> Any:
    """Connections (lists that start with a layer's name) with the names exchanged."""
    if isinstance(value, list | tuple):
        items = [_redirect(item, renamed) for item in value]
        if items and isinstance(items[0], str) and len(items) > 1:
            items[0] = renamed.get(items[0], items[0])
        return items
    if isinstance(value, dict):
        return {key: _redirect(item, renamed) for key, item in value.items()}
    return value


def _merge(dense: Any, norm: Any) -> list[Any]:
    """Kernel and bias of ``norm(dense(x))`` in inference, where the norm is a line."""
    kernel = dense.kernel.numpy()
    bias = dense.bias.numpy() if dense.use_bias else np.zeros(kernel.shape[1], np.float32)
    scale = 1 / np.sqrt(norm.moving_variance.numpy() + norm.epsilon)
    if norm.scale:
        scale = scale * norm.gamma.numpy()
    shift = norm.beta.numpy() if norm.center else 0.0
    return [kernel * scale, (bias - norm.moving_mean.numpy()) * scale + shift]


def require_graph(model: Any, what: str) -> None:
    """Raise ``ConversionError`` for a model that is no graph, cannot be copied, or is damaged."""
    if not has_graph(model):
        raise ConversionError(
            f"{what} needs a graph of layers, and the model {model.name} "
            f"({model.__class__.__name__}) has no graph of layers: it is subclassed or was "
            "never built",
            hint="use a recipe without training, such as int8, or write the model with the "
            "functional API",
        )
    lambdas = [layer.name for layer in model.layers if type(layer).__name__ == "Lambda"]
    if lambdas:
        raise ConversionError(
            f"{what} copies the model, and what a Lambda layer computes cannot be copied "
            f"safely: {', '.join(lambdas)}",
            hint="use Keras layers instead, or a recipe without training, such as int8",
        )
    for layer in model.layers:
        if any(not np.isfinite(weight).all() for weight in layer.get_weights()):
            raise ConversionError(
                f"the weights of layer {layer.name} hold NaN or infinite values",
                hint="the model was damaged before; save it from a training that went well",
            )
