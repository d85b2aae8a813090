"""Model files that are to be converted, as far as they are looked at without TensorFlow."""

from __future__ import annotations

import contextlib
import io
import json
import struct
import zipfile
from collections.abc import Sequence

from fuzz.places import written
from fuzz.target import Target
from harness.domain import Model
from harness.errors import HarnessError
from harness.models import READERS

_NAMES = ("model.h5", "model.keras", "model.tflite", "model")


def _run(data: bytes) -> None:
    for name in _NAMES:
        path = written(name, data)
        model = Model("m", str(path), "")
        for reader in READERS.values():
            with contextlib.suppress(HarnessError):
                if reader.claims(str(path), path):
                    reader.check(model, path)


def _seeds() -> Sequence[bytes]:
    heads = [
        b"\x89HDF\r\n\x1a\n"
        + bytes([version, 0, 0, 0, 0, 8, 8, 0])
        + bytes(24)
        + struct.pack("<Q", 96)
        for version in (0, 1, 2, 3)
    ]
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.0.0"}))
        archive.writestr("config.json", "{}")
    return [*heads, heads[2].ljust(96, b"\0"), stream.getvalue(), b"\0\0\0\0TFL3" + bytes(30)]


TARGET = Target(
    _run,
    _seeds,
    max_bytes=4096,
    tokens=(
        b"\x89HDF\r\n\x1a\n",
        b"PK\x01\x02",
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"config.json",
        b"TFL3",
    ),
)
