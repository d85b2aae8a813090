"""Files of samples and labels: ``.npz``, images, COCO annotations, IDX.

The first byte says which of them the rest is.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fuzz.places import folder, written
from fuzz.target import Target
from harness.datasets import coco, fashion_mnist, image_folder, npz
from harness.datasets.loading import checked
from harness.domain import Dataset, Task


def _npz(data: bytes) -> None:
    dataset = Dataset("d", "npz", path=written("a.npz", data))
    checked("d", npz.load(dataset, "evaluation"), Task.CLASSIFICATION)


def _image(data: bytes) -> None:
    pixels, size = image_folder.read_image("d", written("a.png", data), lambda _: (4, 6))
    assert pixels.shape == (4, 6, 3) and min(size) > 0


def _coco(data: bytes) -> None:
    images = folder() / "images"
    if not images.is_dir():
        images.mkdir()
        (images / "a.png").write_bytes(_png())
    dataset = Dataset(
        "d",
        "coco",
        path=images,
        image_size=(4, 6),
        letterbox=True,
        annotations=written("annotations.json", data),
    )
    found = coco.load(dataset, "evaluation")
    json.dumps(dict(found.truth), allow_nan=False)


def _idx(data: bytes) -> None:
    # Packed here: nobody finds a checksum by chance.
    fashion_mnist.idx(gzip.compress(data, 1))
    fashion_mnist.idx(data)


_READERS: tuple[Callable[[bytes], Any], ...] = (_npz, _image, _coco, _idx)


def _run(data: bytes) -> None:
    if data:
        _READERS[data[0] % len(_READERS)](data[1:])


def _png(mode: str = "RGB") -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.new(mode, (5, 7)).save(stream, "PNG")
    return stream.getvalue()


def _seeds() -> Sequence[bytes]:
    from PIL import Image

    plain, packed = io.BytesIO(), io.BytesIO()
    samples, labels = np.zeros((3, 2, 2), np.uint8), np.array([0, 1, 2])
    np.savez(plain, samples=samples, labels=labels)
    np.savez_compressed(packed, samples=samples.astype(np.float32), labels=labels[:, None])
    others = []
    for form in ("BMP", "GIF", "JPEG", "WEBP"):
        stream = io.BytesIO()
        Image.new("RGB", (5, 7)).save(stream, form)
        others.append(b"\1" + stream.getvalue())
    annotations = {
        "images": [{"id": 1, "width": 5, "height": 7, "file_name": "a.png"}],
        "annotations": [
            {
                "id": 4,
                "image_id": 1,
                "category_id": 2,
                "bbox": [0, 0, 2.5, 3],
                "area": 7.5,
                "iscrowd": 0,
            }
        ],
        "categories": [{"id": 2, "name": "cat"}],
    }
    return [
        b"\0" + plain.getvalue(),
        b"\0" + packed.getvalue(),
        b"\1" + _png(),
        b"\1" + _png("LA"),
        b"\1" + _png("I;16"),
        b"\1" + _png("P"),
        *others,
        b"\2" + json.dumps(annotations).encode(),
        b"\3\0\0\x08\x03\0\0\0\2\0\0\0\2\0\0\0\2" + bytes(8),
        b"\3\0\0\x08\x01\0\0\0\2\1\2",
    ]


TARGET = Target(
    _run,
    _seeds,
    max_bytes=1 << 13,
    memory_mb=512,  # Pillow takes images of up to 89 million pixels
    tokens=(
        b"PK\x03\x04",
        b"PK\x05\x06",
        b"\x93NUMPY\x01\x00",
        b"samples.npy",
        b"'descr': '|O'",
        b"'<f8'",
        b"(999999999,)",
        b"True",
        b"IHDR",
        b"IDAT",
        b'"file_name"',
        b'"../a.png"',
        b"1e999",
        b"NaN",
    ),
)
