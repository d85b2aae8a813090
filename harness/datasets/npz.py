"""A NumPy ``.npz`` archive with samples and labels; nothing in it is ever unpickled."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets.loading import Samples
from harness.domain import Dataset
from harness.errors import DatasetError


def load(dataset: Dataset) -> Samples:
    """Arrays ``samples_key`` (n, ...) and ``labels_key``; calibration from its own file.

    An empty ``labels_key`` means that there are none.
    """
    if dataset.path is None:
        raise DatasetError(f"dataset {dataset.name}: an npz dataset needs a path")
    keys = [key for key in (dataset.samples_key, dataset.labels_key) if key]
    arrays = _arrays(dataset, dataset.path, keys)
    if not dataset.labels_key:
        arrays.append(np.empty(0))
    calibration = arrays[0][:0]
    if dataset.calibration is not None:
        (calibration,) = _arrays(dataset, dataset.calibration, (dataset.samples_key,))
    return Samples(arrays[0], arrays[1], calibration)


def _arrays(dataset: Dataset, path: Path, keys: Sequence[str]) -> list[NDArray[Any]]:
    name = f"dataset {dataset.name}: {path}"
    try:
        # Opened here: NumPy leaves the file of a damaged archive open.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DatasetError(f"{name} is not an .npz archive")
            missing = [key for key in keys if key not in archive.files]
            if missing:
                raise DatasetError(
                    f"{name} has no array {missing[0]!r}, only {', '.join(archive.files)}",
                    hint="name its arrays with samples_key and labels_key",
                )
            return [archive[key] for key in keys]
    except FileNotFoundError:
        raise DatasetError(f"dataset {dataset.name}: there is no file {path}") from None
    except (
        OSError,
        ValueError,
        EOFError,
        RuntimeError,  # an encrypted archive
        NotImplementedError,  # a compression that Python does not know
        MemoryError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise DatasetError(
            f"{name} cannot be read: {error}", hint="is it a whole .npz file without pickles?"
        ) from None
