"""Small networks and samples that trainings are tried on, and their files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from harness.recipes.training import (
    Trained,
    TrainingData,
)

SHAPE = (12, 12, 3)


def squares(count: int = 320, classes: int = 4, shape: tuple[int, ...] = SHAPE) -> TrainingData:
    """Noise with a brighter corner that tells the class: learned within a few steps."""
    random = np.random.default_rng(1)
    samples = random.normal(0, 0.3, (count, *shape)).astype(np.float32)
    labels = np.arange(count, dtype=np.int64) % classes
    half = shape[0] // 2
    for label in range(classes):
        top, left = (label // 2 % 2) * half, (label % 2) * half
        samples[labels == label, top : top + half, left : left + half] += 1
    return TrainingData(samples, labels)


def network(kind: str = "plain") -> Any:
    """Small tf-keras networks over ``squares``."""
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers as k

    tf_keras.utils.set_random_seed(3)
    given = k.Input(SHAPE)
    x = k.Conv2D(8, 3, padding="same", use_bias=False, name="conv")(given)
    x = k.BatchNormalization(name="norm")(x)
    x = k.ReLU(name="relu")(x)
    if kind == "dropout":
        x = k.Dropout(0.3)(x)
    elif kind == "unsupported":
        x = k.BatchNormalization(name="alone")(x)
        gate = k.Conv2D(8, 1, activation="sigmoid", name="gate")(x)
        x = k.Maximum(name="maximum")([x, gate])
    elif kind == "multiply":
        x = k.Multiply()([x, k.Conv2D(8, 1, activation="sigmoid")(x)])
        x = k.Subtract()([x, k.Conv2D(8, 1)(x)])
    elif kind == "lambda":
        x = k.Lambda(lambda t: t * 2, name="twice")(x)
    elif kind == "operation":
        x = tf.nn.elu(x)
    elif kind == "shared":
        shared = k.Conv2D(8, 3, padding="same", name="shared")
        x = shared(shared(x))
    elif kind == "nested":
        inner = k.Input((12, 12, 8))
        x = tf_keras.Model(inner, k.Conv2D(8, 1)(inner), name="nested")(x)
    elif kind == "custom":
        x = _custom()(name="mine")(x)
    elif kind == "attention":
        x = k.Reshape((144, 8))(x)
        x = k.MultiHeadAttention(2, 4, name="attention")(x, x)
        x = k.Reshape((12, 12, 8))(x)
    elif kind == "elu":
        x = k.Conv2D(8, 3, activation="elu", name="elu")(x)
    elif kind == "depthwise":
        x = k.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    elif kind == "separable":
        x = k.SeparableConv2D(8, 3, use_bias=False, name="separable")(x)
        x = k.BatchNormalization(name="after")(x)
        x = k.ReLU()(x)
    elif kind == "conv_relu":
        x = k.Conv2D(8, 3, name="bare")(x)
        x = k.ReLU(name="after")(x)
    x = k.MaxPooling2D(2)(x)
    x = k.Flatten()(x)
    if kind == "dense_norm":
        x = k.Dense(16, use_bias=False, name="hidden")(x)
        x = k.BatchNormalization(name="dense_norm")(x)
        x = k.Activation("relu")(x)
    ends = {"logits": (4, None), "binary": (1, "sigmoid"), "regression": (1, None)}
    ends |= {"many": (4, "sigmoid")}
    units, activation = ends.get(kind, (4, "softmax"))
    return tf_keras.Model(given, k.Dense(units, activation=activation, name="out")(x), name=kind)


def _custom() -> Any:
    import tf_keras

    class Mine(tf_keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs

    return Mine


def recurrent(head: bool = True, kind: str = "LSTM") -> Any:
    import tf_keras
    from tf_keras import layers as k

    tf_keras.utils.set_random_seed(3)
    given = k.Input((12, 6), batch_size=None)
    x = getattr(k, kind)(4, name="recurrent")(given)
    if head:
        x = k.Dense(8, activation="relu", name="hidden")(x)
        x = k.Dense(4, name="out")(x)
    return tf_keras.Model(given, k.Softmax()(x))


def as_file(
    trained: Trained, data: TrainingData, *, integer: bool = True, fixed: bool = False
) -> tuple[bytes, dict[str, Any]]:
    """The conversion after a training, and what the file is."""
    import tempfile

    import tensorflow as tf

    from harness.simulation import read_graph

    model = trained.model
    if fixed:
        shape = [1, *model.inputs[0].shape[1:]]
        function = tf.function(lambda given: model(given, training=False))
        concrete = function.get_concrete_function(tf.TensorSpec(shape, tf.float32))
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], model)
    else:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if trained.needs_calibration:
        converter.representative_dataset = lambda: ([row[None]] for row in data.samples[:50])
    if integer:
        converter.inference_input_type = tf.int8
        converter.inference_output_type = tf.int8
    content = converter.convert()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        graph = read_graph(path)
    facts = {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "full_integer": graph.full_integer,
        "operators": sorted({f"{op.name} {op.activation}" for op in graph.operators}),
    }
    return content, facts


def run_file(content: bytes, samples: Any) -> Any:
    """Float outputs of an int8 or a float file."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    (answer,) = interpreter.get_output_details()
    outputs = []
    for row in samples:
        if given["dtype"] == np.int8:
            scale, zero = given["quantization"]
            row = np.clip(np.rint(row / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(given["index"], row[None])
        interpreter.invoke()
        output = interpreter.get_tensor(answer["index"])[0]
        if answer["dtype"] == np.int8:
            scale, zero = answer["quantization"]
            output = (output.astype(np.float32) - zero) * scale
        outputs.append(output)
    return np.stack(outputs)


def weights_of(content: bytes) -> list[tuple[Any, Any]]:
    """Constant int8 tensors of more than one dimension: values and scales."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, experimental_preserve_all_tensors=True)
    found = []
    for detail in interpreter.get_tensor_details():
        if detail["dtype"] == np.int8 and len(detail["shape"]) > 1:
            try:
                value = interpreter.get_tensor(detail["index"])
            except ValueError:
                continue  # an activation, which has no value before the first invoke
            found.append((value, detail["quantization_parameters"]["scales"]))
    return found
