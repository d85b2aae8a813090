"""A NumPy ``.npz`` archive with samples and labels; nothing in it is ever unpickled."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.loading import Split
from harness.domain import Dataset
from harness.errors import DatasetError

#: How every archive begins.
_ZIP = b"PK"


def load(dataset: Dataset, split: str) -> Split:
    """Arrays ``samples_key`` (n, ...) and ``labels_key`` (n,) of the split's own archive.

    Only evaluation cannot do without labels; an empty ``labels_key`` means that there are none.
    """
    path = dataset.split_path(split)
    if path is None:
        raise DatasetError(f"dataset {dataset.name}: an npz dataset needs a path ({split})")
    arrays = _arrays(
        dataset,
        path,
        dataset.samples_key,
        dataset.labels_key,
        needed=split == "evaluation" and not dataset.unlabelled,
    )
    return Split(arrays[0], arrays[1])


def _arrays(
    dataset: Dataset, path: Path, samples: str, labels: str, *, needed: bool
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    name = f"dataset {dataset.name}: {path}"
    try:
        # Opened here: NumPy leaves the file of a damaged archive open.
        with open(path, "rb") as stream:
            if stream.read(len(_ZIP)) != _ZIP:
                raise DatasetError(f"{name} is not an .npz archive", hint="numpy.savez writes one")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as archive:
                keys = [samples, labels] if needed and labels else [samples]
                missing = [key for key in keys if key not in archive.files]
                if missing:
                    raise DatasetError(
                        f"{name} has no array {missing[0]!r}, only {', '.join(archive.files)}",
                        hint="name its arrays with samples_key and labels_key",
                    )
                return (
                    _array(name, archive, samples),
                    _array(name, archive, labels) if labels in archive.files else None,
                )
    except FileNotFoundError:
        raise DatasetError(f"dataset {dataset.name}: there is no file {path}") from None
    except (
        OSError,
        ValueError,
        EOFError,
        SyntaxError,  # a damaged header, as are the next two
        OverflowError,
        tokenize.TokenError,
        RuntimeError,  # an encrypted archive
        NotImplementedError,  # a compression that Python does not know
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DatasetError(
            f"{name} cannot be read: {error}", hint="is it a whole .npz file without pickles?"
        ) from None


def _array(name: str, archive: Any, key: str) -> NDArray[Any]:
    found = archive[key]
    if not isinstance(found, np.ndarray):
        raise DatasetError(
            f"{name}: its member {key!r} is no array", hint="numpy.savez writes arrays as .npy"
        )
    return found
