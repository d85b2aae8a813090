"""From a Keras model or a concrete function to a ``Source``; runs in a conversion process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.errors import ModelError
from harness.models.one_graph import argument_names, converter, one_function
from harness.models.reader import Source

_CALL_IT = (
    "call it once on an input before it is returned, or return "
    "tf.function(model).get_concrete_function(tf.TensorSpec(...))"
)


def from_keras(model: Any) -> Source:
    """A functional, sequential or subclassed model, of Keras 2 or 3.

    Raises ``ModelError`` for one never built, and for one that computes in 16-bit floats.
    """
    import tensorflow as tf

    _refuse_mixed_precision(model)
    layered = bool(getattr(model, "inputs", None))
    arguments = ((_input_structure(model),), {}) if layered else _called_with(tf, model)
    inputs = tf.nest.flatten(arguments)
    named = argument_names([item.name for item in inputs])
    # The converter refuses loops over a free batch.
    batch = 1 if _recurrent(model) else None
    specs = [
        tf.TensorSpec([item.shape[0] or batch, *item.shape[1:]], item.dtype, name=name)
        for item, name in zip(inputs, named, strict=True)
    ]

    def call(*values: Any) -> Any:
        positional, keywords = tf.nest.pack_sequence_as(arguments, values)
        return model(*positional, **keywords, training=False)

    if layered:
        outputs = [str(name) for name in getattr(model, "output_names", ())]
        if len(outputs) != len(model.outputs) or len(set(outputs)) < len(outputs):
            outputs = _numbered(len(model.outputs))
    else:
        outputs = _numbered(_count_outputs(tf, call, specs, type(model).__name__))

    def convert(folder: Path) -> Any:
        function = one_function(tf, call, specs, outputs)
        return converter(
            tf, function, folder, lambda: tf.lite.TFLiteConverter.from_keras_model(model)
        )

    kind = type(model).__name__
    return Source(
        converter=convert,
        inputs=tuple((str(item.name), tuple(item.shape[1:]), _type(item)) for item in inputs),
        batch=specs[0].shape[0] or 1,
        layers=model if layered else None,
        no_layers="" if layered else f"{kind} is a subclassed model, so it has no graph of layers",
        weights=lambda: _weights(model),
        signature=(tuple(named), tuple(outputs)),
    )


def from_function(function: Any, *, no_layers: str) -> Source:
    """A ``tf.function``'s concrete function."""
    import tensorflow as tf

    signature = function.structured_input_signature
    leaves = tf.nest.flatten(signature)
    inputs = [leaf for leaf in leaves if isinstance(leaf, tf.TensorSpec)]
    named = argument_names([str(item.name) for item in inputs])
    specs = [
        tf.TensorSpec(item.shape, item.dtype, name=name)
        for item, name in zip(inputs, named, strict=True)
    ]

    def call(*values: Any) -> Any:
        given = iter(values)
        filled = [next(given) if isinstance(leaf, tf.TensorSpec) else leaf for leaf in leaves]
        positional, keywords = tf.nest.pack_sequence_as(signature, filled)
        found = function(*positional, **keywords)
        return [found[name] for name in made] if flat else found

    made = function.structured_outputs
    flat = isinstance(made, dict) and not any(map(tf.nest.is_nested, made.values()))
    outputs = list(map(str, made)) if flat else _numbered(len(function.outputs))
    shape = specs[0].shape if specs else tf.TensorShape(None)
    return Source(
        converter=lambda folder: converter(
            tf,
            one_function(tf, call, specs, outputs),
            folder,
            lambda: tf.lite.TFLiteConverter.from_concrete_functions([function]),
        ),
        inputs=tuple(described(item) for item in inputs),
        batch=(shape[0] or 1) if shape.rank else 1,
        layers=None,
        no_layers=no_layers,
        weights=lambda: function_weights(function),
        signature=(tuple(named), tuple(outputs)),
    )


def described(spec: Any) -> tuple[str, tuple[int | None, ...] | None, str]:
    """Name, shape without the batch axis and type of a ``tf.TensorSpec``."""
    shape = None if spec.shape.rank is None else tuple(spec.shape.as_list()[1:])
    return str(spec.name), shape, spec.dtype.name


def _numbered(count: int) -> list[str]:
    return [f"output_{position}" for position in range(count)]


def _input_structure(model: Any) -> Any:
    """A tensor, or a list or dictionary of them, as the model is called with."""
    try:
        return model.input
    except AttributeError:  # Keras 3 has it of functional models only
        return model.inputs[0] if len(model.inputs) == 1 else list(model.inputs)


def _called_with(tf: Any, model: Any) -> tuple[Any, dict[str, Any]]:
    """Positional and named arguments of a model without a graph, as ``tf.TensorSpec``s.

    Keras 3 keeps shapes only: its inputs are taken for float32.
    """
    kind = type(model).__name__
    arguments: tuple[Any, dict[str, Any]] = ((), {})
    if hasattr(model, "save_spec"):  # Keras 2
        positional, keywords = model.save_spec() or ((), {})
        arguments = (
            tf.nest.map_structure(_plain(tf), tuple(positional)),
            {name: spec for name, spec in keywords.items() if isinstance(spec, tf.TensorSpec)},
        )
    elif getattr(model, "built", False):
        config = model.get_build_config() or {}
        if config.get("input_shape") is not None:
            arguments = ((_specs(tf, config["input_shape"], "input"),), {})
        elif config.get("shapes_dict"):
            names = {name.removesuffix("_shape"): at for name, at in config["shapes_dict"].items()}
            arguments = ((), {name: _specs(tf, shape, name) for name, shape in names.items()})
    if not tf.nest.flatten(arguments):
        if kind == "Sequential":
            raise ModelError(
                "it is a Sequential model whose input's shape is unknown",
                hint="begin it with an Input layer",
            )
        raise ModelError(
            f"{kind} is a subclassed model that was never called on an input, so the shape of "
            "its input is unknown",
            hint=_CALL_IT,
        )
    if not all(isinstance(item, tf.TensorSpec) for item in tf.nest.flatten(arguments)):
        raise ModelError(
            f"{kind} is a subclassed model that is called with more than tensors", hint=_CALL_IT
        )
    return arguments


def _count_outputs(tf: Any, call: Any, specs: Any, kind: str) -> int:
    try:
        return len(tf.function(call).get_concrete_function(*specs).outputs)
    except Exception as error:  # whatever the user's own code raises
        said = str(error).strip().splitlines() or [""]
        raise ModelError(
            f"{kind} is a subclassed model, and calling it on "
            f"{', '.join(str(spec.shape) for spec in specs)} failed: {type(error).__name__}: "
            f"{said[-1].strip()}",
            hint=_CALL_IT,
        ) from None


def _plain(tf: Any) -> Any:
    def named(spec: Any) -> Any:
        if isinstance(spec, tf.TensorSpec) and not spec.name:
            return tf.TensorSpec(spec.shape, spec.dtype, name="input")
        return spec

    return named


def _specs(tf: Any, shape: Any, name: str) -> Any:
    """Shapes in a list or dictionary as specs in the same; batches are free."""
    if isinstance(shape, dict):
        return {key: _specs(tf, item, str(key)) for key, item in shape.items()}
    if shape and isinstance(shape[0], list | tuple | dict):
        return [_specs(tf, item, f"{name}_{place}") for place, item in enumerate(shape)]
    return tf.TensorSpec([None, *shape[1:]], tf.float32, name=name)


def _refuse_mixed_precision(model: Any) -> None:
    for layer in model._flatten_layers():
        computes = str(getattr(layer, "compute_dtype", None))
        if computes in ("float16", "bfloat16"):
            raise ModelError(
                f"its layer {layer.name} computes in {computes}, which the converter does not take",
                hint="build the model under the policy float32 and load the weights into it; the "
                "recipe float16 stores weights in 16 bits",
            )


def _recurrent(model: Any) -> bool:
    """Whether a layer, or one inside a layer, keeps a state over the steps of a sequence."""
    return any(
        hasattr(layer, "return_sequences") and hasattr(layer, "cell")
        for layer in model._flatten_layers()
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


def _type(tensor: Any) -> str:
    return str(getattr(tensor.dtype, "name", tensor.dtype))


def _weights(model: Any) -> Iterator[tuple[str, Any]]:
    import numpy as np

    for weight in model.weights:
        values = np.asarray(weight)
        if values.dtype.kind == "f":
            yield str(getattr(weight, "path", weight.name)), values
