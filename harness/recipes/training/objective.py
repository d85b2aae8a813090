"""Which loss a model is trained with: read off its last layer and the labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.labels import IGNORED
from harness.errors import ConversionError
from harness.recipes.training.data import TrainingData

#: Layers that leave their input's values as they are.
_TRANSPARENT = frozenset({"Reshape", "Flatten", "Dropout", "Permute", "InputLayer"})

#: Metrics that are shares of what was right; the others are errors.
_SHARES = frozenset({"accuracy", "pixel_accuracy"})

#: A share that falls by less, and an error that grows by a lower factor, are no news.
_FALLEN, _GROWN = 0.02, 1.25


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss and the metric that is shown beside it; ``shape`` is that of a regression's output."""

    kind: str
    metric_name: str
    from_logits: bool = False
    shape: tuple[int, ...] = ()

    def compile(self, model: Any, learning_rate: float) -> None:
        """Compile ``model`` with Adam, this loss and this metric."""
        import tf_keras

        losses, metrics = tf_keras.losses, tf_keras.metrics
        if self.kind == "classification":
            loss = losses.SparseCategoricalCrossentropy(from_logits=self.from_logits)
            metric = metrics.SparseCategoricalAccuracy(name="metric")
        elif self.kind == "segmentation":
            loss, metric = _pixel_loss(self.from_logits), _pixel_accuracy()
        elif self.kind == "binary":
            loss = losses.BinaryCrossentropy()
            metric = metrics.BinaryAccuracy(name="metric")
        else:
            loss = losses.MeanSquaredError()
            metric = metrics.MeanAbsoluteError(name="metric")
        optimizer = tf_keras.optimizers.Adam(learning_rate)
        model.compile(optimizer=optimizer, loss=loss, metrics=[metric])

    def targets(self, data: TrainingData, rows: NDArray[np.int64]) -> NDArray[Any]:
        """What the model shall answer for these samples."""
        if data.labels is None:
            return np.asarray(data.samples[rows], dtype=np.float32)
        if self.kind == "binary":
            return np.asarray(data.labels[rows], dtype=np.float32)[:, None]
        if self.kind == "regression":
            return np.asarray(data.labels[rows], dtype=np.float32).reshape(-1, *self.shape)
        return np.asarray(data.labels[rows], dtype=np.int64)


def choose(model: Any, data: TrainingData) -> Objective:
    """The objective for a model with one input and one output.

    Raises ``ConversionError`` where it cannot be known or the labels do not fit.
    """
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ConversionError(
            f"the model has {len(model.inputs)} inputs and {len(model.outputs)} outputs; "
            "training knows its loss for one of each",
            hint="use a recipe without training, such as int8",
        )
    output = tuple(model.outputs[0].shape)
    if data.labels is None:
        return _reconstruction(tuple(model.inputs[0].shape), output)
    if data.labels.dtype.kind == "f":
        return _regression(data.labels, output)
    activation = last_activation(model) or _observed_activation(model, data)
    classes = output[-1]
    if classes is None or tuple(data.labels.shape[1:]) != output[1:-1]:
        raise ConversionError(
            f"labels of shape {tuple(data.labels.shape)} do not fit the model's output {output}",
            hint="training takes one class index for each prediction",
        )
    if classes == 1 and activation == "sigmoid" and len(output) == 2:
        _check_labels(data.labels, 2)
        return Objective("binary", "accuracy")
    if classes > 1 and activation in ("softmax", "linear"):
        if data.labels.ndim == 1:
            _check_labels(data.labels, classes)
            return Objective("classification", "accuracy", from_logits=activation == "linear")
        _check_labels(data.labels[data.labels != IGNORED], classes)
        return Objective("segmentation", "pixel_accuracy", from_logits=activation == "linear")
    raise ConversionError(
        f"no loss is known for an output {output} that ends in {activation or 'another function'}",
        hint="training knows softmax, logits, one sigmoid, reconstruction without labels, and "
        "numbers as targets of a regression; "
        "use a recipe without training, such as int8",
    )


def harm(evaluation: Mapping[str, Any]) -> list[str]:
    """In words, that a training left the model clearly worse than it was; mostly nothing.

    ``evaluation`` is that of ``Trained``. A share has to fall by more than two standard errors
    of the difference, as if the samples were not the same.
    """
    before, count = evaluation.get("float_metric"), evaluation.get("samples")
    if before is None or not count:
        return []
    name, after = evaluation["metric_name"], evaluation["metric"]
    if name in _SHARES:
        noise = sqrt((before * (1 - before) + after * (1 - after)) / count)
        worse = before - after > max(_FALLEN, 2 * noise)
    else:
        worse = after > _GROWN * before
    if not worse:
        return []
    return [
        f"{name.replace('_', ' ')} {after:.4g} on {count} held-out samples, and {before:.4g} "
        "before it"
    ]


def _reconstruction(input_shape: tuple[Any, ...], output: tuple[Any, ...]) -> Objective:
    if input_shape[1:] != output[1:]:
        raise ConversionError(
            f"without labels the model must give back its input, but {input_shape[1:]} "
            f"becomes {output[1:]}",
            hint="give a training split with labels",
        )
    return Objective("reconstruction", "mean_absolute_error")


def _regression(targets: NDArray[Any], output: tuple[Any, ...]) -> Objective:
    if None in output[1:] or prod(output[1:]) != prod(targets.shape[1:]):
        raise ConversionError(
            f"targets of shape {tuple(targets.shape)} do not fit the model's output {output}",
            hint="one target per value of the output; a classifier takes whole numbers",
        )
    if np.abs(targets).max() > np.finfo(np.float32).max:
        raise ConversionError(
            f"targets go to {np.abs(targets).max():g}, more than a float of 32 bits holds",
            hint="are they in the units of the output?",
        )
    return Objective("regression", "mean_absolute_error", shape=output[1:])


def _pixel_loss(from_logits: bool) -> Any:
    """The mean crossentropy of the pixels that count; 0 where none does."""
    import tensorflow as tf
    import tf_keras

    def loss(wanted: Any, found: Any) -> Any:
        counts = wanted != IGNORED
        each = tf_keras.losses.sparse_categorical_crossentropy(
            tf.where(counts, wanted, tf.zeros_like(wanted)), found, from_logits=from_logits
        )
        weights = tf.cast(counts, each.dtype)
        return each * tf.math.divide_no_nan(weights, tf.reduce_mean(weights))

    return loss


def _pixel_accuracy() -> Any:
    import tensorflow as tf
    import tf_keras

    class PixelAccuracy(tf_keras.metrics.SparseCategoricalAccuracy):  # type: ignore[misc]
        """The share of the pixels that count."""

        def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            counts = tf.cast(y_true != IGNORED, tf.float32)
            return super().update_state(y_true, y_pred, counts)

    return PixelAccuracy(name="metric")


def _check_labels(labels: NDArray[Any], classes: int) -> None:
    if labels.dtype.kind not in "iu":
        raise ConversionError(f"labels must be class indices, not {labels.dtype}")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ConversionError(
            f"labels run from {low} to {high}, and the model has {classes} classes",
            hint="number the classes from 0, in the model's order",
        )


def last_activation(model: Any) -> str | None:
    """The name of the function that makes the output; ``None`` where no layer says so."""
    layer = model.outputs[0]._keras_history[0]
    while layer.__class__.__name__ in _TRANSPARENT and layer.__class__.__name__ != "InputLayer":
        layer = layer.input._keras_history[0]
    kind = layer.__class__.__name__
    if kind == "Softmax":
        return "softmax"
    function = getattr(layer, "activation", None)
    if function is not None:
        return str(getattr(function, "__name__", "")) or None
    return "linear" if kind in ("BatchNormalization", "Add", "GlobalAveragePooling2D") else None


def _observed_activation(model: Any, data: TrainingData) -> str | None:
    """``softmax`` where the outputs of some samples are distributions."""
    outputs = np.asarray(model(np.asarray(data.samples[:8], dtype=np.float32), training=False))
    sums = outputs.sum(axis=-1)
    is_distribution = outputs.min() >= 0 and np.allclose(sums, 1, atol=1e-3)
    return "softmax" if is_distribution and outputs.shape[-1] > 1 else None
