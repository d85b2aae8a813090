"""Keras models in HDF5: Keras 2 through tf-keras, Keras 3 through Keras."""

from __future__ import annotations

import struct
from pathlib import Path

from harness.domain import Model
from harness.errors import ModelError
from harness.models.keras_source import from_keras, missing_code
from harness.models.reader import Reader, Source, first_bytes

_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def _claims(_source: str, path: Path) -> bool:
    return path.suffix.lower() in {".h5", ".hdf5"} or first_bytes(path, 8) == _SIGNATURE


def _check(_model: Model, path: Path) -> None:
    head = first_bytes(path, 64)
    if head[4:8] == b"TFL3":
        raise ModelError(
            "it is a TensorFlow Lite file, though its name says HDF5", hint="name it .tflite"
        )
    if head.startswith(b"PK\x03\x04"):
        raise ModelError("it is a .keras archive, though its name says HDF5", hint="name it .keras")
    if not head.startswith(_SIGNATURE):
        raise ModelError("not an HDF5 file, though its name says so")
    end = _end_of_file(head)
    size = path.stat().st_size
    if end is not None and size < end:
        raise ModelError(
            f"truncated: it has {size:,} bytes and says that it has {end:,}",
            hint="copy or save the model again",
        )


def _end_of_file(head: bytes) -> int | None:
    """The end-of-file address of the superblock (HDF5 File Format Specification 3.0, II.A)."""
    if len(head) <= 13:
        return 64  # no superblock is shorter
    version = head[8]
    if version in (0, 1):
        offset_size, at = head[13], 40 if version == 0 else 44
    elif version in (2, 3):
        offset_size, at = head[9], 28
    else:
        return None
    if offset_size != 8 or len(head) < at + 8:
        return None
    (end,) = struct.unpack_from("<Q", head, at)
    return int(end)


def _load(_source: str, path: Path) -> Source:
    import h5py
    import tensorflow as tf

    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise ModelError(
                "the file holds weights only, not a model",
                hint="save the whole model: model.save('name.keras')",
            )
        version = str(file.attrs.get("keras_version", "2"))
    with missing_code():
        if version.startswith("3"):
            loaded = tf.keras.models.load_model(str(path), compile=False)
        else:
            import tf_keras

            loaded = tf_keras.models.load_model(str(path), compile=False)
    return from_keras(loaded)


READER = Reader("Keras .h5", _claims, _check, _load)
