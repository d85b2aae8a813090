"""Keras 3 models rebuilt in Keras 2 (tf-keras), layer by layer, and held against the original."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from harness.errors import ConversionError

_TOLERANCE = 1e-4
_NEXT = "build the model with tf-keras (TF_USE_LEGACY_KERAS=1), or use a recipe without training"


def to_keras2(model: Any) -> Any:
    """``model`` itself if it is of tf-keras, else a tf-keras model of equal outputs.

    A subclassed model comes back as it is. Raises ``ConversionError`` naming the layer that
    Keras 2 does not have or that computes something else there.
    """
    import tf_keras

    if isinstance(model, tf_keras.Model):
        return model
    if not _is_graph(model):
        return model
    rebuilt = _rebuild(model)
    _compare(model, rebuilt)
    return rebuilt


def _is_graph(model: Any) -> bool:
    kinds = {kind.__name__ for kind in type(model).__mro__}
    return bool(kinds & {"Functional", "Sequential"}) and bool(model.built)


def _rebuild(model: Any) -> Any:
    import tf_keras

    functional = model._functional if hasattr(model, "_functional") else model
    made: dict[int, Any] = {}
    layers: dict[int, Any] = {}
    inputs = []
    for tensor in functional.inputs:
        layer = tensor._keras_history[0]
        made[id(tensor)] = tf_keras.layers.Input(
            batch_shape=tuple(tensor.shape), dtype=tensor.dtype, name=layer.name
        )
        inputs.append(made[id(tensor)])
    for nodes in sorted(functional._nodes_by_depth.items(), reverse=True):
        for node in nodes[1]:
            if node.is_input:
                continue
            layer = layers.setdefault(id(node.operation), _layer(node.operation))
            arguments = _mapped(node.arguments.args, made)
            named = {
                key: value
                for key, value in _mapped(node.arguments.kwargs, made).items()
                if value is not None and key != "training"
            }
            outputs = layer(*arguments, **named)
            flat = outputs if isinstance(outputs, list | tuple) else [outputs]
            for old, new in zip(node.outputs, flat, strict=True):
                made[id(old)] = new
    ends = [made[id(tensor)] for tensor in functional.outputs]
    rebuilt = tf_keras.Model(
        inputs if len(inputs) > 1 else inputs[0],
        ends if len(ends) > 1 else ends[0],
        name=model.name,
    )
    for nodes in functional._nodes_by_depth.values():
        for node in nodes:
            if id(node.operation) in layers:
                _copy_weights(node.operation, layers[id(node.operation)])
    return rebuilt


def _mapped(value: Any, made: dict[int, Any]) -> Any:
    if id(value) in made:
        return made[id(value)]
    if isinstance(value, list | tuple):
        return type(value)(_mapped(item, made) for item in value)
    if isinstance(value, dict):
        return {key: _mapped(item, made) for key, item in value.items()}
    return value


def _layer(original: Any) -> Any:
    import tf_keras

    kind = type(original).__name__
    owner = type(original).__module__
    target = getattr(tf_keras.layers, kind, None)
    if target is None or not owner.startswith("keras."):
        raise ConversionError(
            f"layer {original.name} ({kind}) cannot be rebuilt in Keras 2: "
            + (
                "it is a custom layer" if not owner.startswith("keras.") else "it has no such layer"
            ),
            hint=_NEXT,
        )
    config = {
        key: _plain(value)
        for key, value in original.get_config().items()
        if not key.endswith("_initializer")  # the weights are copied
    }
    # Options that Keras 2 does not have are left out: whether the model is still the same is
    # seen from its outputs.
    known = _parameters(target)
    kept = {key: value for key, value in config.items() if key in known}
    try:
        return target.from_config(kept)
    except (TypeError, ValueError, KeyError) as error:
        raise ConversionError(
            f"layer {original.name} ({kind}) cannot be rebuilt in Keras 2: {error}", hint=_NEXT
        ) from error


def _plain(value: Any) -> Any:
    """A configuration value without Keras 3's own wrapping of dtypes and objects."""
    if isinstance(value, dict) and value.get("class_name") == "DTypePolicy":
        return value["config"]["name"]
    if isinstance(value, dict) and "class_name" in value and "config" in value:
        return {"class_name": value["class_name"], "config": value["config"]}
    return value


def _parameters(kind: Any) -> set[str]:
    """Every argument that a layer class and its bases take."""
    found = {"name", "trainable", "dtype"}
    for base in kind.__mro__:
        if "__init__" in vars(base):
            found |= set(inspect.signature(base.__init__).parameters)
    return found - {"self", "args", "kwargs"}


def _copy_weights(original: Any, rebuilt: Any) -> None:
    weights = [np.asarray(weight) for weight in original.get_weights()]
    shapes = [weight.shape for weight in weights]
    expected = [tuple(weight.shape) for weight in rebuilt.weights]
    if shapes != expected:
        raise ConversionError(
            f"layer {original.name} ({type(original).__name__}) cannot be rebuilt in Keras 2: "
            f"its weights have the shapes {shapes} instead of {expected}",
            hint=_NEXT,
        )
    rebuilt.set_weights(weights)


def _compare(model: Any, rebuilt: Any) -> None:
    """Raise ``ConversionError`` unless both give the same outputs for random inputs."""
    random = np.random.default_rng(0)
    samples = []
    for tensor in rebuilt.inputs:
        shape = [2 if index == 0 else size or 8 for index, size in enumerate(tensor.shape)]
        whole = not str(tensor.dtype.name).startswith("float")
        values = random.integers(0, 2, shape) if whole else random.standard_normal(shape)
        samples.append(values.astype(tensor.dtype.as_numpy_dtype))
    given = samples if len(samples) > 1 else samples[0]
    expected = _outputs(model(given, training=False))
    found = _outputs(rebuilt(given, training=False))
    for want, have in zip(expected, found, strict=True):
        scale = max(1.0, float(np.abs(want).max()))
        if want.shape != have.shape or not np.allclose(
            want, have, atol=_TOLERANCE * scale, rtol=_TOLERANCE, equal_nan=True
        ):
            raise ConversionError(
                f"the model {model.name} computes other outputs when rebuilt in Keras 2",
                hint=_NEXT,
            )


def _outputs(value: Any) -> list[Any]:
    return [np.asarray(item) for item in (value if isinstance(value, list | tuple) else [value])]
