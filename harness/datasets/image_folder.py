"""A folder of images with one subfolder per class."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.datasets.loading import Split, spread
from harness.domain import Dataset
from harness.errors import DatasetError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif"}


#: The share of an image's sides that is kept when its middle is cut out, as ImageNet's
#: evaluations do (224 of 256).
_CENTRE = 0.875

#: Left, top, right and bottom in pixels.
Box = tuple[float, float, float, float]


def load(dataset: Dataset, split: str) -> Split:
    """Images as bytes (n, height, width, 3), brought to ``image_size``, sorted by name.

    They are stretched, or with ``crop`` scaled and their middle cut out; RGB, or with ``bgr``
    the other way round.

    Only those are read that are wanted. Class indices follow the sorted names of the
    evaluation split's subfolders, in the other splits too, which may lack some of them but not
    have others; an empty one is refused.
    """
    path = dataset.split_path(split)
    if path is None or dataset.image_size is None:
        raise DatasetError(
            f"dataset {dataset.name}: an image folder needs path and image_size = [height, width]"
        )
    where = f"dataset {dataset.name}"
    folders = classes = _classes(where, path)
    if dataset.path is not None and dataset.path != path:
        classes = _classes(where, dataset.path)
        unknown = sorted(set(folders) - set(classes))
        if unknown:
            raise DatasetError(
                f"{where}: {path} has the class folder {unknown[0]}, {dataset.path} has not: "
                f"{_listed(folders)} against {_listed(classes)}",
                hint="the folders of the evaluation split name the classes of all splits",
            )
    files = [(file, classes.index(name)) for name in folders for file in _files(where, path / name)]
    chosen = [files[place] for place in spread(len(files), dataset.taken(split, len(files)))]
    height, width = dataset.image_size
    images = _room(where, split, (len(chosen), height, width, 3))
    for place, (file, _) in enumerate(chosen):
        images[place] = _image(where, file, dataset)
    labels = np.asarray([label for _, label in chosen], dtype=np.int64)
    return Split(images, labels, tuple(classes))


def _classes(where: str, folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DatasetError(f"{where}: there is no folder {folder}")
    found = sorted(item.name for item in folder.iterdir() if item.is_dir() and item.name[0] != ".")
    if not found:
        raise DatasetError(
            f"{where}: {folder} has no subfolders", hint="one subfolder per class, images inside"
        )
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f"... ({len(names)})" if len(names) > 10 else "")


def _room(where: str, split: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """An array that images are written into: of many there is no room for a second copy."""
    try:
        return np.empty(shape, dtype=np.uint8)
    except MemoryError:
        raise DatasetError(
            f"{where}: {shape[0]} {split} images do not fit into memory",
            hint="take fewer with limit, calibration_samples or training_samples",
        ) from None


def _files(where: str, folder: Path) -> list[Path]:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise DatasetError(f"{where}: class folder {folder} holds no images")
    return found


def _image(where: str, file: Path, dataset: Dataset) -> NDArray[np.uint8]:
    assert dataset.image_size is not None
    height, width = dataset.image_size

    def middle(original: tuple[int, int]) -> Box:
        factor = max(height / original[0], width / original[1]) / _CENTRE
        sides = []
        for side, wanted in zip(original, (height, width), strict=True):
            scaled = round(side * factor)
            begin = (scaled - wanted) // 2
            sides.append((begin / scaled * side, min((begin + wanted) / scaled * side, side)))
        (top, bottom), (left, right) = sides
        return left, top, right, bottom

    box = middle if dataset.crop else None
    pixels = read_image(where, file, lambda _: (height, width), box)[0]
    return pixels[..., ::-1] if dataset.bgr else pixels


def read_image(
    where: str,
    file: Path,
    size: Callable[[tuple[int, int]], tuple[int, int]],
    box: Callable[[tuple[int, int]], Box] | None = None,
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """RGB bytes resized to ``size`` of the original's (height, width), and the latter.

    ``box`` says which part of the original is taken, all of it by default. What is
    transparent shows white; gray values of 16 bits are scaled to bytes.

    Raises ``DatasetError``, whose message begins with ``where``.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                original = image.height, image.width
                height, width = size(original)
                resized = _rgb(image).resize(
                    (width, height), Image.Resampling.BILINEAR, box and box(original)
                )
                return np.asarray(resized, dtype=np.uint8), original
    except (
        OSError,
        SyntaxError,
        ValueError,
        UnidentifiedImageError,
        Image.DecompressionBombWarning,
        Image.DecompressionBombError,
        MemoryError,  # a chunk that says that it has 4 GB
    ) as error:
        raise DatasetError(f"{where}: {file} is not a readable image: {error}") from None


def _rgb(image: Image.Image) -> Image.Image:
    """Eight bits for each of three channels; raises ``ValueError`` for what has no such range."""
    from PIL import Image

    if image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PNG"):
        # Pillow's own conversion would cut all values above 255 off.
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"its values have 32 bits (mode {image.mode}), not 8 or 16")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        opaque = image.convert("RGBA")
        white = Image.new("RGBA", opaque.size, "white")
        return Image.alpha_composite(white, opaque).convert("RGB")
    return image.convert("RGB")
