"""What every reader of a model format offers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cache import file_sha256
from harness.domain import Model
from harness.errors import ModelError


@dataclass(frozen=True, slots=True)
class Source:
    """A ``tf.lite.TFLiteConverter`` and its one input's shape without the batch axis.

    ``input_shape`` is ``None`` where there is not exactly one input.
    """

    converter: Any
    input_shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Reader:
    """One source format.

    ``claims(path)`` looks at names and first bytes only. ``check(path)`` raises
    ``ModelError`` for a file that is empty, truncated or of another format, without
    TensorFlow. ``converter(path)`` loads it for conversion; ``None`` where the source is
    deployable as it is and there is nothing to convert from.
    """

    title: str
    claims: Callable[[Path], bool]
    check: Callable[[Path], None]
    converter: Callable[[Path], Source] | None


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model whose file was found, checked and hashed."""

    model: Model
    path: Path
    format: str
    sha256: str
    convertible: bool


def resolve(model: Model, readers: Mapping[str, Reader]) -> ResolvedModel:
    """The reader's findings for ``model.source``; raises ``ModelError``."""
    path = Path(model.source)
    if not path.exists():
        raise ModelError(f"model {model.name}: there is no file {path}")
    if path.is_file() and path.stat().st_size == 0:
        raise ModelError(f"model {model.name}: {path} is empty")
    for name, reader in readers.items():
        try:
            claimed = reader.claims(path)
        except OSError as error:
            raise ModelError(f"model {model.name}: cannot read {path}: {error.strerror}") from None
        if claimed:
            try:
                reader.check(path)
            except ModelError as error:
                raise ModelError(
                    f"model {model.name}: {path}: {error.message}", hint=error.hint
                ) from None
            return ResolvedModel(
                model, path, name, content_sha256(path), reader.converter is not None
            )
    raise ModelError(
        f"model {model.name}: {path} is of no format that the harness reads",
        hint="it reads " + "; ".join(reader.title for reader in readers.values()),
    )


def content_sha256(path: Path) -> str:
    """The sha256 of a file, or of a folder's files with their relative names."""
    if path.is_file():
        return file_sha256(path)
    digest = hashlib.sha256()
    for item in sorted(path.rglob("*")):
        if item.is_file():
            digest.update(f"{item.relative_to(path).as_posix()}\0{file_sha256(item)}\n".encode())
    return digest.hexdigest()


def first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file; nothing for a folder."""
    if not path.is_file():
        return b""
    with open(path, "rb") as stream:
        return stream.read(count)


def input_shape(keras_model: Any) -> tuple[int | None, ...] | None:
    """The shape of a Keras model's one input without the batch axis; ``None`` for several."""
    inputs: list[Any] = list(keras_model.inputs or [])
    return tuple(inputs[0].shape[1:]) if len(inputs) == 1 else None
