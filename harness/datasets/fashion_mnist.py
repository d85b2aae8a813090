"""Fashion-MNIST: 70,000 pictures of clothes, 28 x 28, ten classes; fetched once and kept.

Source: H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for
Benchmarking Machine Learning Algorithms", 2017; MIT licence. The files are those of
https://github.com/zalandoresearch/fashion-mnist, whose page lists these MD5 sums; their
format is IDX (http://yann.lecun.com/exdb/mnist).
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import struct
import urllib.request
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.cache import cache_dir, whole_file
from harness.datasets.loading import Split
from harness.domain import Dataset
from harness.errors import DatasetError

URL = "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/"

#: Names another place that has the files, such as a mirror in the lab: a URL ending in ``/``.
MIRROR = "HARNESS_FASHION_MNIST"

FILES = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
    "Ankle boot",
)  # fmt: skip

#: Bytes of the largest of the files, and more than enough.
_MOST = 64 << 20

_TIMEOUT = 30.0


def load(dataset: Dataset, split: str) -> Split:
    """The test images for evaluation, the training images for the rest: (n, 28, 28, 1) bytes."""
    folder = dataset.path or cache_dir("host", "fashion-mnist")
    part = "t10k" if split == "evaluation" else "train"
    images = idx(_content(folder, f"{part}-images-idx3-ubyte.gz"))
    labels = idx(_content(folder, f"{part}-labels-idx1-ubyte.gz"))
    return Split(images[..., None], labels.astype(np.int64), CLASSES)


def idx(content: bytes) -> NDArray[np.uint8]:
    """The array of bytes in a packed IDX file; raises ``DatasetError`` for a damaged one."""
    try:
        data = gzip.decompress(content)
        kind, axes = data[2], data[3]
        shape = struct.unpack_from(f">{axes}I", data, 4)
        if kind != 8 or len(data) != 4 + 4 * axes + int(np.prod(shape)):
            raise ValueError("its size is not what its head says")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)
    except (OSError, ValueError, IndexError, EOFError, struct.error, zlib.error) as error:
        raise DatasetError(f"Fashion-MNIST: not a whole IDX file: {error}") from None


def _content(folder: Path, name: str) -> bytes:
    """The file's bytes, from the folder or from the network; checked against its MD5 sum."""
    kept = folder / name
    if kept.is_file():
        content = kept.read_bytes()
        if _md5(content) == FILES[name]:
            return content
    url = os.environ.get(MIRROR, URL) + name
    try:
        # The address is this module's own, or the user's.
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310
            content = bytes(answer.read(_MOST))
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise DatasetError(
            f"Fashion-MNIST is not here yet, and {url} cannot be reached: {error}",
            hint=f"run it once where there is a network, or put the four files into {folder}",
        ) from None
    if _md5(content) != FILES[name]:
        raise DatasetError(
            f"Fashion-MNIST: what came from {url} is not the published file",
            hint=f"try again, or put the four files into {folder}",
        )
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(kept) as part:
        part.write_bytes(content)
    return content


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
