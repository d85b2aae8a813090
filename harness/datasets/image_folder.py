"""A folder of images with one subfolder per class."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.datasets.loading import Split
from harness.domain import Dataset
from harness.errors import DatasetError

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif"}


def load(dataset: Dataset, split: str) -> Split:
    """Images as RGB bytes (n, height, width, 3), resized to ``image_size``, sorted by name.

    Class indices follow the sorted names of the subfolders; an empty class folder is refused.
    """
    path = dataset.split_path(split)
    if path is None or dataset.image_size is None:
        raise DatasetError(
            f"dataset {dataset.name}: an image folder needs path and image_size = [height, width]"
        )
    return _read(dataset, path)


def _read(dataset: Dataset, folder: Path) -> Split:
    where = f"dataset {dataset.name}"
    if not folder.is_dir():
        raise DatasetError(f"{where}: there is no folder {folder}")
    classes = sorted(
        item.name for item in folder.iterdir() if item.is_dir() and item.name[0] != "."
    )
    if not classes:
        raise DatasetError(
            f"{where}: {folder} has no subfolders", hint="one subfolder per class, images inside"
        )
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for index, name in enumerate(classes):
        files = sorted(p for p in (folder / name).iterdir() if p.suffix.lower() in SUFFIXES)
        if not files:
            raise DatasetError(f"{where}: class folder {folder / name} holds no images")
        for file in files:
            images.append(_image(where, file, dataset))
            labels.append(index)
    return Split(np.stack(images), np.asarray(labels, dtype=np.int64), tuple(classes))


def _image(where: str, file: Path, dataset: Dataset) -> NDArray[np.uint8]:
    size = dataset.image_size
    assert size is not None
    return read_image(where, file, lambda _: size)[0]


def read_image(
    where: str, file: Path, size: Callable[[tuple[int, int]], tuple[int, int]]
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """RGB bytes resized to ``size`` of the original's (height, width), and the latter.

    Raises ``DatasetError``, whose message begins with ``where``.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                original = image.height, image.width
                height, width = size(original)
                resized = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
                return np.asarray(resized, dtype=np.uint8), original
    except (
        OSError,
        SyntaxError,
        ValueError,
        UnidentifiedImageError,
        Image.DecompressionBombWarning,
        Image.DecompressionBombError,
    ) as error:
        raise DatasetError(f"{where}: {file} is not a readable image: {error}") from None
