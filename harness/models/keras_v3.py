"""Keras 3 models (``.keras``)."""

from __future__ import annotations

import zipfile
from pathlib import Path

from harness.errors import ModelError
from harness.models.reader import Reader, Source, input_shape


def _claims(path: Path) -> bool:
    return path.suffix == ".keras"


def _check(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        raise ModelError(
            "not a .keras archive, or a truncated one", hint="copy or save the model again"
        ) from None
    if "config.json" not in names:
        raise ModelError("the archive has no config.json, so it is not a Keras model")


def _converter(path: Path) -> Source:
    import tensorflow as tf

    # safe_mode refuses Lambda layers, whose code would be run from the file.
    loaded = tf.keras.models.load_model(str(path), compile=False, safe_mode=True)
    return Source(tf.lite.TFLiteConverter.from_keras_model(loaded), input_shape(loaded))


READER = Reader("Keras .keras", _claims, _check, _converter)
