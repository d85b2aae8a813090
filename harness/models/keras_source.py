"""From a loaded Keras model, of Keras 2 or 3, to a ``Source``; runs in a conversion process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import ModelError
from harness.models.reader import Source


def from_keras(model: Any) -> Source:
    """A functional, sequential or subclassed model; raises ``ModelError`` for one never built."""
    import tensorflow as tf

    if getattr(model, "inputs", None):
        inputs = tuple(
            (str(tensor.name), tuple(tensor.shape[1:]), _type(tensor)) for tensor in model.inputs
        )
        return Source(
            converter=_one_at_a_time(tf, model) if _recurrent(model) else _as_one_graph(tf, model),
            inputs=inputs,
            layers=model,
            no_layers="",
            weights=lambda: _weights(model),
        )
    function = _concrete(tf, model)
    return from_function(
        function,
        no_layers=f"{type(model).__name__} is a subclassed model, so it has no graph of layers",
        trackable=model,
        weights=lambda: _weights(model),
    )


def _recurrent(model: Any) -> bool:
    """Whether a layer, or one inside a layer, keeps a state over the steps of a sequence."""
    return any(
        hasattr(layer, "return_sequences") and hasattr(layer, "cell")
        for layer in model._flatten_layers()
    )


def _as_one_graph(tf: Any, model: Any) -> Callable[[Path], Any]:
    """Converters from a SavedModel that holds nothing but the inference function.

    ``from_keras_model`` saves every layer with its own functions and loads them twice, which
    takes several times as long as all the rest and gives the same file.
    """
    specs = [tf.TensorSpec(item.shape, item.dtype, name=item.name) for item in model.inputs]
    names = getattr(model, "output_names", None)

    def infer(*values: Any) -> Any:
        outputs = tf.nest.flatten(model(_as_inputs(values), training=False))
        return dict(
            zip(names or [f"output_{n}" for n in range(len(outputs))], outputs, strict=True)
        )

    def converter(folder: Path) -> Any:
        function = tf.function(infer).get_concrete_function(*specs)
        resources = [item for item, _ in function.graph.captures if item.dtype == tf.resource]
        if len(resources) > len(function.variables):  # tables and the like belong to layers
            return tf.lite.TFLiteConverter.from_keras_model(model)
        kept = tf.Module()
        kept.variables_of_model = list(function.variables)
        tf.saved_model.save(kept, str(folder), signatures=function)
        return tf.lite.TFLiteConverter.from_saved_model(
            str(folder), signature_keys=["serving_default"]
        )

    return converter


def _as_inputs(values: tuple[Any, ...]) -> Any:
    return values[0] if len(values) == 1 else list(values)


def _one_at_a_time(tf: Any, model: Any) -> Callable[[Path], Any]:
    """Converters for a batch of one: the converter refuses loops over a free batch."""
    specs = [
        tf.TensorSpec([1, *tensor.shape[1:]], tensor.dtype, name=f"input_{position}")
        for position, tensor in enumerate(model.inputs)
    ]

    def call(*values: Any) -> Any:
        return model(_as_inputs(values), training=False)

    function = tf.function(call).get_concrete_function(*specs)
    return lambda _folder: tf.lite.TFLiteConverter.from_concrete_functions([function], model)


def from_function(function: Any, *, no_layers: str, trackable: Any, weights: Any = None) -> Source:
    """A ``tf.function``'s concrete function; ``trackable`` keeps its variables alive."""
    import tensorflow as tf

    specs = [
        spec for spec in tf.nest.flatten(function.structured_input_signature) if spec is not None
    ]

    return Source(
        converter=lambda _folder: tf.lite.TFLiteConverter.from_concrete_functions(
            [function], trackable
        ),
        inputs=tuple(
            (
                str(spec.name),
                None if spec.shape.rank is None else tuple(spec.shape.as_list()[1:]),
                spec.dtype.name,
            )
            for spec in specs
        ),
        layers=None,
        no_layers=no_layers,
        weights=weights or (lambda: function_weights(function)),
    )


def function_weights(function: Any) -> Iterator[tuple[str, Any]]:
    """Name and values of a concrete function's floating-point variables."""
    for variable in function.variables:
        if variable.dtype.is_floating:
            yield variable.name, variable.numpy()


@contextmanager
def missing_code() -> Iterator[None]:
    """Keras's complaints about classes that it cannot find, as a ``ModelError``."""
    try:
        yield
    except (TypeError, ValueError) as error:
        text = str(error)
        found = re.search(
            r"Unknown (?:layer|object|activation function|function): ?'?(\w+)|"
            r"Could not locate (?:class|function) '?(\w+)",
            text,
        )
        if found is None:
            raise
        raise ModelError(
            f"it uses {found[1] or found[2]}, whose code is not in the file",
            hint="write a function that builds the model with its own layers and loads the "
            "weights, and name it as package.module:function",
        ) from None


def _concrete(tf: Any, model: Any) -> Any:
    """The inference function of a subclassed model, for the input that it was built with."""
    spec = None
    if hasattr(model, "save_spec"):  # Keras 2
        saved = model.save_spec()
        if saved is not None:
            (arguments, _) = saved
            spec = arguments[0]
    elif getattr(model, "built", False):  # Keras 3
        shape = (model.get_build_config() or {}).get("input_shape")
        if shape is not None:
            spec = tf.TensorSpec([None, *shape[1:]], tf.float32)
    if spec is None or not isinstance(spec, tf.TensorSpec):
        raise ModelError(
            f"{type(model).__name__} is a subclassed model that was never called on an input, "
            "so the shape of its input is unknown",
            hint="call it once on an input before it is returned, or return "
            "tf.function(model).get_concrete_function(tf.TensorSpec(...))",
        )
    return tf.function(lambda value: model(value, training=False)).get_concrete_function(
        tf.TensorSpec(spec.shape, spec.dtype, name="input")
    )


def _type(tensor: Any) -> str:
    return str(getattr(tensor.dtype, "name", tensor.dtype))


def _weights(model: Any) -> Iterator[tuple[str, Any]]:
    import numpy as np

    for weight in model.weights:
        values = np.asarray(weight)
        if values.dtype.kind == "f":
            yield str(getattr(weight, "path", weight.name)), values
