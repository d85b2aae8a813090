"""Keras archives (``.keras``): of Keras 3, and of Keras 2 through tf-keras."""

from __future__ import annotations

import contextlib
import json
import zipfile
from pathlib import Path

from harness.domain import Model
from harness.errors import ModelError
from harness.models.keras_source import from_keras, missing_code
from harness.models.reader import Reader, Source, first_bytes


def _claims(_source: str, path: Path) -> bool:
    return path.suffix.lower() == ".keras"


def _check(_model: Model, path: Path) -> None:
    if first_bytes(path, 4) == b"\x89HDF":
        raise ModelError("it is an HDF5 file, though its name says .keras", hint="name it .h5")
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except Exception:  # a foreign archive: zipfile raises struct's, codecs' and its own errors
        raise ModelError(
            "not a .keras archive, or a truncated one", hint="copy or save the model again"
        ) from None
    if "config.json" not in names:
        raise ModelError("the archive has no config.json, so it is not a Keras model")


def _load(_source: str, path: Path) -> Source:
    import tensorflow as tf

    with zipfile.ZipFile(path) as archive, contextlib.suppress(KeyError, ValueError):
        if str(json.loads(archive.read("metadata.json"))["keras_version"]).startswith("2"):
            import tf_keras

            with missing_code():
                return from_keras(tf_keras.models.load_model(str(path), compile=False))
    with missing_code():
        # safe_mode refuses Lambda layers, whose code would be run from the file.
        loaded = tf.keras.models.load_model(str(path), compile=False, safe_mode=True)
    return from_keras(loaded)


READER = Reader("Keras .keras", _claims, _check, _load)
