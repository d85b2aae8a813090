"""From a loaded Keras model, of Keras 2 or 3, to a ``Source``; runs in a conversion process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import ModelError
from harness.models.one_graph import argument_names, converter
from harness.models.reader import Source


def from_keras(model: Any) -> Source:
    """A functional, sequential or subclassed model; raises ``ModelError`` for one never built."""
    import tensorflow as tf

    if getattr(model, "inputs", None):
        return _from_layers(tf, model)
    return from_function(
        _concrete(tf, model),
        no_layers=f"{type(model).__name__} is a subclassed model, so it has no graph of layers",
        trackable=model,
        weights=lambda: _weights(model),
    )


def _from_layers(tf: Any, model: Any) -> Source:
    structure = _input_structure(model)
    inputs = tf.nest.flatten(structure)
    outputs = [str(name) for name in getattr(model, "output_names", ())]
    if len(outputs) != len(model.outputs) or len(set(outputs)) < len(outputs):
        outputs = [f"output_{position}" for position in range(len(model.outputs))]
    arguments = argument_names([item.name for item in inputs])
    # The converter refuses loops over a free batch.
    batch = 1 if _recurrent(model) else None
    specs = [
        tf.TensorSpec([item.shape[0] or batch, *item.shape[1:]], item.dtype, name=name)
        for item, name in zip(inputs, arguments, strict=True)
    ]

    def infer(*values: Any) -> Any:
        made = model(tf.nest.pack_sequence_as(structure, values), training=False)
        return dict(zip(outputs, tf.nest.flatten(made), strict=True))

    def convert(folder: Path) -> Any:
        function = tf.function(infer).get_concrete_function(*specs)
        return converter(
            tf, function, folder, lambda: tf.lite.TFLiteConverter.from_keras_model(model)
        )

    return Source(
        converter=convert,
        inputs=tuple((str(item.name), tuple(item.shape[1:]), _type(item)) for item in inputs),
        layers=model,
        no_layers="",
        weights=lambda: _weights(model),
        signature=(tuple(arguments), tuple(outputs)),
    )


def _input_structure(model: Any) -> Any:
    """A tensor, or a list or dictionary of them, as the model is called with."""
    try:
        return model.input
    except AttributeError:  # Keras 3 has it of functional models only
        return model.inputs[0] if len(model.inputs) == 1 else list(model.inputs)


def _recurrent(model: Any) -> bool:
    """Whether a layer, or one inside a layer, keeps a state over the steps of a sequence."""
    return any(
        hasattr(layer, "return_sequences") and hasattr(layer, "cell")
        for layer in model._flatten_layers()
    )


def from_function(function: Any, *, no_layers: str, trackable: Any, weights: Any = None) -> Source:
    """A ``tf.function``'s concrete function; ``trackable`` keeps its variables alive."""
    import tensorflow as tf

    specs = [
        spec for spec in tf.nest.flatten(function.structured_input_signature) if spec is not None
    ]
    made = function.structured_outputs
    names = (
        made if isinstance(made, dict) else [f"output_{n}" for n in range(len(function.outputs))]
    )
    return Source(
        converter=lambda folder: converter(
            tf,
            function,
            folder,
            lambda: tf.lite.TFLiteConverter.from_concrete_functions([function], trackable),
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
        signature=(tuple(str(spec.name) for spec in specs), tuple(names)),
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
