"""Models and datasets that are named on the command line instead of in a suite."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import replace
from pathlib import Path

from harness.domain import Dataset, Model, Preprocessing, Task
from harness.errors import DatasetError, ModelError, UsageError, suggest

#: Dataset sources that bring all their splits along.
SELF_CONTAINED = ("digits", "fashion_mnist")


#: Of a file of labels; more would not fit into the metadata of a variant.
_MOST_LABELS = 8 << 20


def label_bytes(path: Path) -> bytes:
    """A file of labels; raises ``OSError``, also for what is no plain file or has over 8 MB."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no plain file")
    with open(path, "rb") as stream:
        content = stream.read(_MOST_LABELS + 1)
    if len(content) > _MOST_LABELS:
        raise OSError(errno.EFBIG, "it has more than 8 MB")
    return content


def source_model(
    source: str,
    preprocessing: Preprocessing | None = None,
    labels: str | Path | None = None,
    task: str = Task.CLASSIFICATION,
    output: int | None = None,
) -> Model:
    """The model of a source, named after it; ``labels`` is a file with one name per line."""
    if task not in set(Task):
        raise UsageError(f"unknown task {task!r}", hint=suggest(task, Task))
    names: tuple[str, ...] = ()
    if labels is not None:
        try:
            names = tuple(label_bytes(Path(labels)).decode("utf-8-sig").rstrip().splitlines())
        except OSError as error:
            raise ModelError(f"cannot read the labels {labels}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ModelError(
                f"the labels {labels} are no text", hint="one name per line, in UTF-8"
            ) from None
        if not names:
            raise ModelError(f"the labels {labels} are empty", hint="one name per line")
    path = Path(source)
    where = str(path.absolute()) if os.path.exists(path) else source
    return Model(
        name=model_name(source),
        source=where,
        dataset="",
        preprocessing=preprocessing or Preprocessing(),
        labels=names,
        base=str(Path.cwd()),
        preprocessing_given=preprocessing is not None,
        task=Task(task),
        output=output,
    )


def model_name(source: str) -> str:
    """A short name: the file's, the architecture's or the function's."""
    if os.path.exists(source):  # for what is too long for a name too
        path = Path(source)
        return path.stem if os.path.isfile(path) else path.resolve().name
    name = source.split(":", 1)[-1] if ":" in source else Path(source).stem
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name.replace("weights=none", "")).strip("-") or "model"


def named_dataset(
    name: str, source: str | None, image_size: tuple[int, int] | None = None
) -> Dataset | None:
    """The dataset of an ``.npz``, a folder of images or ``digits``; raises ``DatasetError``."""
    if source is None:
        return None
    if source in SELF_CONTAINED:
        return Dataset(name, source)
    path = Path(source)
    if not os.path.exists(path):
        raise DatasetError(
            f"there is no dataset {source}",
            hint="an .npz, a folder of images, or one of " + ", ".join(SELF_CONTAINED),
        )
    path = path.absolute()
    kind = "image_folder" if path.is_dir() else "npz"
    if kind == "image_folder" and image_size is None:
        raise DatasetError(
            f"{source} is a folder of images, whose size must be given",
            hint="--image-size 224x224",
        )
    return Dataset(name, kind, path=path, calibration=path, training=path, image_size=image_size)


def preprocessing(scale: float | None, mean: str | None, std: str | None) -> Preprocessing | None:
    """A preprocessing from texts such as ``0.485,0.456,0.406``; ``None`` where none is given.

    Raises ``UsageError`` for what is no number.
    """
    if scale is None and mean is None and std is None:
        return None
    if scale == 0:
        raise UsageError("--scale 0 would make every sample the same")
    try:
        values = [
            tuple(float(item) for item in text.split(",")) for text in (mean or "0", std or "1")
        ]
        return Preprocessing(1.0 if scale is None else scale, values[0], values[1])
    except ValueError as error:
        raise UsageError(f"--scale, --mean, --std: {error}") from None


def image_size(text: str | None) -> tuple[int, int] | None:
    """``HEIGHTxWIDTH``, or one side for both; raises ``UsageError``."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)
    if match is None or 0 in (int(match[1]), int(match[2] or match[1])):
        raise UsageError(f"--image-size takes HEIGHTxWIDTH, not {text!r}", hint="224x224")
    height, width = int(match[1]), int(match[2] or match[1])
    if not (1 <= height <= 8192 and 1 <= width <= 8192):
        raise UsageError(f"--image-size takes sides of 1 to 8192, not {text}", hint="224x224")
    return height, width


def joined_dataset(
    evaluation: str,
    calibration: str | None,
    training: str | None,
    image_size: tuple[int, int] | None = None,
) -> Dataset:
    """One dataset of splits that are named one by one; raises ``DatasetError``.

    All must be of one kind: archives, folders of images, or the digits.
    """
    found = named_dataset("data", evaluation, image_size)
    assert found is not None
    others = [
        named_dataset(name, source, image_size)
        for name, source in (("calibration", calibration), ("training", training))
    ]
    for other in others:
        if other is not None and other.source != found.source:
            raise DatasetError(
                f"the {other.name} samples are of the kind {other.source}, the evaluation "
                f"samples of the kind {found.source}",
                hint="bring all splits in one form",
            )
    paths = [other.path if other else None for other in others]
    return replace(found, calibration=paths[0], training=paths[1])
