"""TensorFlow SavedModel folders."""

from __future__ import annotations

from pathlib import Path

from harness.errors import ModelError
from harness.models.reader import Reader, Source


def _claims(path: Path) -> bool:
    return path.is_dir()


def _check(path: Path) -> None:
    graph = path / "saved_model.pb"
    if not graph.is_file():
        raise ModelError("the folder has no saved_model.pb, so it is not a SavedModel")
    if graph.stat().st_size == 0:
        raise ModelError("saved_model.pb is empty")


def _converter(path: Path) -> Source:
    import tensorflow as tf

    signatures = tf.saved_model.load(str(path)).signatures
    if not signatures:
        raise ModelError(
            "the SavedModel has no signatures, so its inputs are unknown",
            hint="save it with model.export(folder) or with signatures=...",
        )
    name = "serving_default" if "serving_default" in signatures else sorted(signatures)[0]
    inputs = list(signatures[name].structured_input_signature[1].values())
    converter = tf.lite.TFLiteConverter.from_saved_model(str(path), signature_keys=[name])
    shape = tuple(inputs[0].shape[1:]) if len(inputs) == 1 and inputs[0].shape.rank else None
    return Source(converter, shape)


READER = Reader("SavedModel folders", _claims, _check, _converter)
