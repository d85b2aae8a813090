"""A folder of images with their objects in a COCO file.

Format: https://cocodataset.org/#format-data (``images``, ``annotations``, ``categories``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.image_folder import SUFFIXES, read_image
from harness.datasets.loading import Split, spread
from harness.domain import Dataset
from harness.errors import DatasetError

#: What fills the rest of a letterboxed image.
GREY = 127

#: Larger numbers are no ids and no sizes.
_MAX = 1 << 53

#: Objects of a larger area the reference evaluation does not count.
_MOST_AREA = 1e10


def load(dataset: Dataset, split: str) -> Split:
    """Images as RGB bytes (n, height, width, 3), brought to ``image_size``; labels are image ids.

    ``truth`` holds the COCO dictionary of these images, in their order, cleaned: ids of
    annotations count from 1, ``area`` and ``iscrowd`` are there, and each image's ``frame``
    says how a box in 0..1 of the model's input becomes pixels of the original:
    ``y * frame[0] + frame[1]``, ``x * frame[2] + frame[3]``. The other splits are folders of
    images without annotations.
    """
    if split != "evaluation":
        return Split(np.stack([_sample(dataset, file)[0] for file in _others(dataset, split)]))
    if dataset.path is None or dataset.annotations is None or dataset.image_size is None:
        raise DatasetError(
            f"dataset {dataset.name}: coco needs path, annotations and image_size = [height, width]"
        )
    name = f"dataset {dataset.name}: {dataset.annotations}"
    if not dataset.path.is_dir():
        raise DatasetError(f"dataset {dataset.name}: there is no folder {dataset.path}")
    declared = _read(name, dataset.annotations)
    images, categories = _images(name, declared), _categories(name, declared)
    known = {image["id"] for image in images}
    annotations = _annotations(name, declared, known, {item["id"] for item in categories})
    wanted = dataset.taken("evaluation", len(images))
    images = [images[index] for index in spread(len(images), wanted)]
    kept = {image["id"] for image in images}
    samples = []
    for image in images:
        pixels, size, image["frame"] = _sample(dataset, _inside(name, dataset.path, image))
        if size != (image["height"], image["width"]):
            raise DatasetError(
                f"{name}: image {image['file_name']} is {size[1]} x {size[0]} pixels, the "
                f"annotations say {image['width']} x {image['height']}"
            )
        samples.append(pixels)
    chosen = [item for item in annotations if item["image_id"] in kept]
    if not any(not item["iscrowd"] for item in chosen):
        raise DatasetError(f"{name}: these images have no annotated objects")
    return Split(
        np.stack(samples),
        np.array([image["id"] for image in images], dtype=np.int64),
        truth={"images": images, "annotations": chosen, "categories": categories},
    )


def _read(name: str, path: Path) -> Mapping[str, Any]:
    if path.exists() and not path.is_file():
        raise DatasetError(f"{name} is no plain file")
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{name}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{name} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise DatasetError(f"{name} is no COCO file: it holds no object")
    for key in ("images", "annotations", "categories"):
        items = found.get(key)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise DatasetError(f"{name} is no COCO file: it has no list of {key}")
        if not items and key != "annotations":
            raise DatasetError(f"{name}: its list of {key} is empty")
    return found


def _field(name: str, what: str, item: Mapping[str, Any], key: str, good: Any) -> Any:
    value = item.get(key)
    if not good(value):
        raise DatasetError(f"{name}: {what} has the {key} {str(value)[:60]!r}")
    return value


def _is_id(value: object) -> bool:
    return type(value) is int and 0 <= value < _MAX


def _is_size(value: object) -> bool:
    return type(value) is int and 0 < value < 1 << 24


def _is_box(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(_is_number(part) for part in value)
        and value[2] >= 0
        and value[3] >= 0
    )


def _is_number(value: object) -> bool:
    # Bounded as it is: an int may be larger than any float. A bool is no number here.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return -_MAX < value < _MAX


def _images(name: str, declared: Mapping[str, Any]) -> list[dict[str, Any]]:
    checks: dict[str, Callable[[object], bool]] = {
        "id": _is_id,
        "width": _is_size,
        "height": _is_size,
        "file_name": lambda value: isinstance(value, str) and bool(value),
    }
    found = [
        {key: _field(name, f"image {place}", item, key, good) for key, good in checks.items()}
        for place, item in enumerate(declared["images"])
    ]
    if len({image["id"] for image in found}) != len(found):
        raise DatasetError(f"{name}: two images have one id")
    return found


def _categories(name: str, declared: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = [
        {
            "id": _field(name, f"category {place}", item, "id", _is_id),
            "name": str(item.get("name", item["id"])),
        }
        for place, item in enumerate(declared["categories"])
    ]
    if len({item["id"] for item in found}) != len(found):
        raise DatasetError(f"{name}: two categories have one id")
    return sorted(found, key=lambda item: item["id"])


def _annotations(
    name: str, declared: Mapping[str, Any], images: set[int], categories: set[int]
) -> list[dict[str, Any]]:

    def is_flag(value: object) -> bool:
        return type(value) in (bool, int) and value in (0, 1)

    def among(ids: set[int]) -> Callable[[object], bool]:
        return lambda value: _is_id(value) and value in ids

    found = []
    for place, item in enumerate(declared["annotations"]):
        what = f"annotation {place}"
        box = [float(part) for part in _field(name, what, item, "bbox", _is_box)]
        area = item.get("area")
        if not (_is_number(area) and 0 < area <= _MOST_AREA):
            area = min(box[2] * box[3], _MOST_AREA)
        found.append(
            {
                "id": place + 1,  # to the reference evaluation an id of 0 means: not found
                "image_id": _field(name, what, item, "image_id", among(images)),
                "category_id": _field(name, what, item, "category_id", among(categories)),
                "bbox": box,
                "area": float(area),
                "iscrowd": int(_field(name, what, {"iscrowd": 0, **item}, "iscrowd", is_flag)),
            }
        )
    return found


def _inside(name: str, folder: Path, image: Mapping[str, Any]) -> Path:
    try:
        file: Path = (folder / image["file_name"]).resolve()
    except (ValueError, OSError):  # what no file system takes, such as NUL
        raise DatasetError(f"{name}: {image['file_name']!r} is no name of a file") from None
    if not file.is_relative_to(folder.resolve()):
        raise DatasetError(f"{name}: image {image['file_name']!r} lies outside of {folder}")
    return file


def _others(dataset: Dataset, split: str) -> list[Path]:
    folder = dataset.split_path(split)
    if folder is None or not folder.is_dir():
        raise DatasetError(f"dataset {dataset.name}: there is no folder {folder} ({split})")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not files:
        raise DatasetError(f"dataset {dataset.name}: {folder} holds no images")
    return [files[index] for index in spread(len(files), dataset.taken(split, len(files)))]


def _sample(
    dataset: Dataset, file: Path
) -> tuple[NDArray[np.uint8], tuple[int, int], tuple[float, float, float, float]]:
    """Pixels in ``image_size``, the original's (height, width), and the frame."""
    assert dataset.image_size is not None
    height, width = dataset.image_size

    def inner_size(original: tuple[int, int]) -> tuple[int, int]:
        if not dataset.letterbox:
            return height, width
        scale = min(height / original[0], width / original[1])
        return max(1, round(original[0] * scale)), max(1, round(original[1] * scale))

    pixels, original = read_image(f"dataset {dataset.name}", file, inner_size)
    inner = pixels.shape
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    canvas = np.full((height, width, 3), GREY, dtype=np.uint8)
    canvas[top : top + inner[0], left : left + inner[1]] = pixels
    by_row, by_column = original[0] / inner[0], original[1] / inner[1]
    frame = (height * by_row, -top * by_row, width * by_column, -left * by_column)
    return canvas, original, frame
