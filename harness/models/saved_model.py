"""TensorFlow SavedModel folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.domain import Model
from harness.errors import ModelError
from harness.models.keras_source import function_weights
from harness.models.reader import Reader, Source


def _claims(_source: str, path: Path) -> bool:
    return path.is_dir()


def _check(_model: Model, path: Path) -> None:
    graph = path / "saved_model.pb"
    if not graph.is_file():
        raise ModelError("the folder has no saved_model.pb, so it is not a SavedModel")
    if graph.stat().st_size == 0:
        raise ModelError("saved_model.pb is empty")


def _load(_source: str, path: Path) -> Source:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    signatures = loaded.signatures
    if not signatures:
        raise ModelError(
            "the SavedModel has no signatures, so its inputs are unknown",
            hint="save it with model.export(folder) or with signatures=...",
        )
    name = "serving_default" if "serving_default" in signatures else sorted(signatures)[0]
    function = signatures[name]
    inputs = function.structured_input_signature[1].values()

    def weights() -> Iterator[tuple[str, Any]]:
        assert loaded is not None  # its variables live as long as it does
        yield from function_weights(function)

    return Source(
        converter=lambda _folder: tf.lite.TFLiteConverter.from_saved_model(
            str(path), signature_keys=[name]
        ),
        inputs=tuple(
            (
                str(spec.name),
                None if spec.shape.rank is None else tuple(spec.shape.as_list()[1:]),
                spec.dtype.name,
            )
            for spec in inputs
        ),
        layers=None,
        no_layers="a SavedModel has no graph of layers; bring the Keras file for this recipe",
        weights=weights,
    )


READER = Reader("SavedModel folders", _claims, _check, _load)
