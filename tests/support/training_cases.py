"""What ``tests/integration/test_training.py`` runs where TensorFlow is: plain data in and out."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

from harness.recipes.training import (
    Settings,
    Trained,
    TrainingData,
    cluster,
    preflight,
    prepare,
    prune,
    quantize_aware,
    to_keras2,
)
from harness.recipes.training.graph import fold_dense_norms
from tests.support.training_networks import (
    SHAPE,
    as_file,
    network,
    recurrent,
    run_file,
    squares,
    weights_of,
)


def _settings(**changes: Any) -> Settings:
    for name in ("checkpoint", "tensorboard"):
        if changes.get(name):
            changes[name] = Path(changes[name])
    return Settings(**{"batch_size": 32, "learning_rate": 1e-3, **changes})


def _summary(trained: Trained) -> dict[str, Any]:
    digest = hashlib.sha256()
    for weight in trained.model.get_weights():
        digest.update(weight.tobytes())
    return {
        "history": trained.history,
        "best_epoch": trained.best_epoch,
        "layers": {item.name: [item.status, item.reason] for item in trained.layers},
        "needs_calibration": trained.needs_calibration,
        "deployable": trained.deployable,
        "reason": trained.reason,
        "evaluation": trained.evaluation,
        "weights": digest.hexdigest(),
    }


def small(kind: str = "plain", how: str = "qat", **changes: Any) -> dict[str, Any]:
    """Train a small network and convert it."""
    extra = {name: changes.pop(name) for name in ("sparsity", "clusters", "qat") if name in changes}
    settings = _settings(**changes)
    prepare(settings)
    model, data = network(kind), squares()
    if kind == "binary":
        data = squares(classes=2)
    told: list[dict[str, Any]] = []
    if how == "qat":
        trained = quantize_aware(model, data, settings, told.append)
    elif how == "prune":
        trained = prune(model, data, settings, tell=told.append, **extra)
    else:
        trained = cluster(model, data, settings, tell=told.append, **extra)
    found: dict[str, Any] = {**_summary(trained), "told": told}
    if not trained.deployable:
        return found
    content, facts = as_file(trained, data)
    outputs = run_file(content, data.samples[:100])
    expected = trained.model.predict(data.samples[:100], verbose=0)
    kernels = weights_of(content)
    return {
        **found,
        **facts,
        "agreement": float(np.mean(outputs.argmax(1) == expected.argmax(1))),
        "zeros": [float(np.mean(value == 0)) for value, _ in kernels],
        "scales": [[list(value.shape), len(scales)] for value, scales in kernels],
        "values_per_channel": [
            max(len(np.unique(channel)) for channel in value)
            for value, _ in kernels
            if value.shape[0] > 1
        ],
    }


def refused(kind: str, **changes: Any) -> dict[str, Any]:
    """The preflight of a network; what QAT says follows as an error."""
    model = recurrent(kind=kind) if kind in ("LSTM", "GRU") else network(kind)
    layers = {item.name: [item.status, item.reason] for item in preflight(model)}
    settings = _settings(**changes)
    prepare(settings)
    data = squares(shape=(12, 6)) if kind in ("LSTM", "GRU") else squares()
    try:
        quantize_aware(model, data, settings, lambda told: None)
    except Exception as error:
        return {"layers": layers, "error": type(error).__name__, "text": str(error)}
    return {"layers": layers}


def subclassed() -> dict[str, Any]:
    import tf_keras

    class Mine(tf_keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.flat = tf_keras.layers.Flatten()
            self.dense = tf_keras.layers.Dense(4)

        def call(self, inputs: Any) -> Any:
            return self.dense(self.flat(inputs))

    model = Mine()
    model(np.zeros((1, *SHAPE), np.float32))
    (report,) = preflight(model)
    try:
        quantize_aware(model, squares(), _settings(), lambda told: None)
    except Exception as error:
        return {"status": report.status, "reason": report.reason, "text": str(error)}
    return {}


def partial_recurrent(head: bool = True) -> dict[str, Any]:
    settings = _settings(partial=True)
    prepare(settings)
    model, data = recurrent(head), squares(shape=(12, 6))
    trained = quantize_aware(model, data, settings, lambda told: None)
    _, facts = as_file(trained, data, fixed=True, integer=False)
    return {**_summary(trained), **facts}


def bad_input(what: str) -> dict[str, Any]:
    """Trainings that must be refused: the error reaches the test."""
    settings = _settings(**({"learning_rate": 1e30} if what == "diverges" else {}))
    if what == "batch":
        settings = _settings(strategy="mirrored", replicas=2, batch_size=1)
    prepare(settings)
    data, model = squares(), network()
    samples, labels = data.samples, data.labels
    assert labels is not None
    if what == "labels":
        labels = labels + 1
    elif what == "float labels":
        labels = labels.astype(np.float64)
    elif what == "count":
        labels = labels[:-1]
    elif what == "samples":
        samples = samples.copy()
        samples[7, 0, 0, 0] = np.nan
    elif what == "shape":
        samples = samples[:, :8]
    elif what == "few":
        samples, labels = samples[:1], labels[:1]
    elif what == "weights":
        weights = model.get_layer("conv").get_weights()
        model.get_layer("conv").set_weights([weights[0] * np.nan])
    elif what == "huge targets":
        model, labels = network("regression"), labels * 1e200
    elif what == "map":
        labels = np.zeros((320, 12, 12), np.int64)
    elif what in ("regression", "many"):
        model = network(what)
    given = TrainingData(samples, None if what == "no labels" else labels)
    quantize_aware(model, given, settings, lambda told: None)
    return {}


def images_out(kind: str) -> dict[str, Any]:
    """A network whose output has its input's shape, and labels that say otherwise."""
    import tf_keras
    from tf_keras import layers as k

    settings = _settings(epochs=8, learning_rate=5e-2)
    prepare(settings)
    given = k.Input(SHAPE)
    activation = "softmax" if kind == "segmentation" else None
    model = tf_keras.Model(given, k.Conv2D(3, 1, activation=activation)(given))
    samples = squares().samples
    labels = samples.argmin(axis=-1) if kind == "segmentation" else np.float64(1) - samples
    if kind == "segmentation":
        labels[:, :2] = 255
    trained = quantize_aware(model, TrainingData(samples, labels), settings, lambda told: None)
    content, facts = as_file(trained, TrainingData(samples))
    outputs = run_file(content, samples[:50])
    if kind == "segmentation":
        right = float(np.mean(outputs.argmax(-1)[:, 2:] == labels[:50, 2:]))
        return {**_summary(trained), **facts, "right": right}
    return {**_summary(trained), **facts, "error": float(np.mean((outputs - labels[:50]) ** 2))}


def numbers_out() -> dict[str, Any]:
    """A regression to one number for each sample."""
    import tf_keras
    from tf_keras import layers as k

    settings = _settings(epochs=16, learning_rate=1e-2)
    prepare(settings)
    data = squares()
    targets = TrainingData(data.samples, data.samples[:, :6, :6].mean(axis=(1, 2, 3)) * 10.0)
    model = tf_keras.Sequential([k.Input(SHAPE), k.Flatten(), k.Dense(1)])
    return _summary(quantize_aware(model, targets, settings, lambda told: None))


def few_samples() -> dict[str, Any]:
    """Fewer samples than one batch."""
    settings = _settings(batch_size=64, epochs=1)
    prepare(settings)
    return _summary(quantize_aware(network(), squares(20), settings, lambda told: None))


def killed(checkpoint: str, kind: str, after: int, how: str = "qat") -> dict[str, Any]:
    """Train for three epochs; end by SIGKILL once ``after`` epochs were told of (0: never)."""
    settings = _settings(epochs=3, checkpoint=checkpoint)
    prepare(settings)
    epochs = 0

    def tell(told: dict[str, Any]) -> None:
        nonlocal epochs
        epochs += told["event"] == "epoch"
        if after and epochs == after:
            os.kill(os.getpid(), signal.SIGKILL)

    data = squares()
    if how == "qat":
        trained = quantize_aware(network(kind), data, settings, tell)
    else:
        trained = prune(network(kind), data, settings, tell=tell, qat=True)
    _, facts = as_file(trained, data)
    return {**_summary(trained), **facts, "trained_epochs": epochs}


def tutorial_cnn() -> dict[str, Any]:
    """The network of a well-known tutorial: Conv 64, pool, Conv 128, pool, Dense 256, Dense 10."""
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers as k

    settings = Settings(epochs=1)
    prepare(settings)
    model = tf_keras.Sequential(
        [
            k.Input((28, 28, 1)),
            k.Conv2D(64, 2, padding="same", activation="relu"),
            k.MaxPooling2D(2),
            k.Dropout(0.3),
            k.Conv2D(128, 2, padding="same", activation="relu"),
            k.MaxPooling2D(2),
            k.Dropout(0.3),
            k.Flatten(),
            k.Dense(256, activation="relu"),
            k.Dropout(0.5),
            k.Dense(10, activation="softmax"),
        ]
    )
    floats = len(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    data = squares(160, shape=(28, 28, 1))
    trained = quantize_aware(model, data, settings, lambda told: None)
    _, facts = as_file(trained, data)
    return {**facts, "float_bytes": floats}


def autoencoder(model: str) -> dict[str, Any]:
    import tf_keras

    settings = Settings()
    prepare(settings)
    loaded = tf_keras.models.load_model(model, compile=False)
    random = np.random.default_rng(0)
    base = random.normal(-20, 8, (1, 640))
    samples = (base + random.normal(0, 3, (1024, 640))).astype(np.float32)
    data = TrainingData(samples[:900])
    folded = fold_dense_norms(loaded)
    before = loaded.predict(samples[900:], verbose=0)
    after = folded.predict(samples[900:], verbose=0)
    layers = {item.name: [item.status, item.reason] for item in preflight(loaded)}
    trained = quantize_aware(loaded, data, settings, lambda told: None)
    content, facts = as_file(trained, data)
    outputs = run_file(content, samples[900:])
    return {
        **_summary(trained),
        **facts,
        "layers": layers,
        "folded_difference": float(np.abs(before - after).max()),
        "kinds": sorted({type(layer).__name__ for layer in folded.layers}),
        "float_error": float(np.mean((before - samples[900:]) ** 2)),
        "int8_error": float(np.mean((outputs - samples[900:]) ** 2)),
    }


def mobile(model: str) -> dict[str, Any]:
    """A MobileNet with depthwise convolutions, on few random samples."""
    import tf_keras

    settings = Settings(epochs=1, learning_rate=1e-5)
    prepare(settings)
    loaded = tf_keras.models.load_model(model, compile=False)
    samples = np.random.default_rng(0).random((32, 96, 96, 3)).astype(np.float32)
    data = TrainingData(samples, np.arange(32) % 2)
    trained = quantize_aware(loaded, data, settings, lambda told: None)
    _, facts = as_file(trained, data)
    return {**_summary(trained), **facts}


def unequal_channels() -> dict[str, Any]:
    """A depthwise kernel whose channels differ a hundredfold keeps its small channels."""
    model = network("depthwise")
    settings = _settings(epochs=1, learning_rate=1e-7)
    prepare(settings)
    layer = model.get_layer("depthwise")
    kernel, bias = layer.get_weights()
    kernel *= np.logspace(0, -3, kernel.shape[2], dtype=np.float32)[None, None, :, None]
    layer.set_weights([kernel, bias])
    data = squares()
    trained = quantize_aware(model, data, settings, lambda told: None)
    content, facts = as_file(trained, data)
    found = [
        [len(scales), min(len(np.unique(value[..., channel])) for channel in range(8))]
        for value, scales in weights_of(content)
        if value.shape == (1, 3, 3, 8)
    ]
    return {**facts, "depthwise": found}


def keras3(kind: str) -> dict[str, Any]:
    """A Keras 3 model: rebuilt, compared, trained."""
    import keras

    keras.utils.set_random_seed(3)
    k = keras.layers
    given = k.Input(SHAPE)
    x = k.Conv2D(8, 3, padding="same", use_bias=False, name="conv")(given)
    x = k.BatchNormalization(name="norm")(x)
    x = k.Activation("relu")(x)
    if kind == "functional":
        y = k.DepthwiseConv2D(3, padding="same")(x)
        y = k.Dropout(0.1)(y)
        x = k.Concatenate()([k.Add()([x, y]), y])
    elif kind == "recurrent":
        x = k.LSTM(4)(k.Reshape((12, 96))(x))
        model = keras.Model(given, k.Dense(4, activation="softmax")(x))
    elif kind == "operation":
        x = keras.ops.exp(x)
    elif kind == "newer":
        x = k.RMSNormalization(name="rms")(x)
    if kind == "sequential":
        model = keras.Sequential(
            [given, k.Conv2D(4, 3, activation="relu"), k.Flatten(), k.Dense(4)], name="row"
        )
    elif kind != "recurrent":
        x = k.GlobalAveragePooling2D()(x)
        model = keras.Model(given, k.Dense(4, activation="softmax")(x))
    rebuilt = to_keras2(model)
    data = squares()
    difference = np.abs(
        np.asarray(model(data.samples[:20], training=False))
        - np.asarray(rebuilt(data.samples[:20], training=False))
    ).max()
    found = {"module": type(rebuilt).__module__, "difference": float(difference)}
    if kind == "recurrent":
        return found
    settings = _settings(epochs=1)
    prepare(settings)
    trained = quantize_aware(model, data, settings, lambda told: None)
    _, facts = as_file(trained, data)
    return {**found, **facts}
