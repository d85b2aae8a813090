"""What every reader of a model format offers."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cache import file_sha256
from harness.domain import Model
from harness.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Source:
    """A model that was loaded for conversion.

    ``converter(folder)`` gives a fresh ``tf.lite.TFLiteConverter``, which may read what it put
    into the new folder until it has converted. ``inputs`` are name, shape
    without the batch axis (``None`` for a free size, ``None`` as a whole for an unknown
    rank) and type name of every input; ``batch`` the number of samples that it takes at once, 1
    where that is free. ``layers`` is the Keras model where there is a graph
    of layers, else ``no_layers`` says why there is none. ``weights()`` yields name and values.
    ``signature`` holds the names of inputs and of outputs in the file's signature, in the
    model's order, where it has one.
    """

    converter: Callable[[Path], Any]
    inputs: tuple[tuple[str, tuple[int | None, ...] | None, str], ...]
    layers: Any | None
    no_layers: str
    weights: Callable[[], Iterable[tuple[str, NDArray[Any]]]]
    signature: tuple[tuple[str, ...], tuple[str, ...]]
    batch: int = 1


@dataclass(frozen=True, slots=True)
class Reader:
    """One source format.

    ``claims(source, path)`` looks at names and first bytes only. ``check(model, path)``
    raises ``ModelError`` for a source that is missing, empty, truncated or of another format,
    without TensorFlow. ``load(source, path)`` loads it for conversion, in a conversion process
    (``path`` is the model's ``base`` for a reference); ``None`` for a ready ``.tflite``.
    ``identity(model, path)`` is the hash of what the model is made of. ``is_file`` tells
    sources that are files or folders from references.
    """

    title: str
    claims: Callable[[str, Path], bool]
    check: Callable[[Model, Path], None]
    load: Callable[[str, Path], Source] | None
    identity: Callable[[Model, Path], str] = lambda model, path: content_sha256(path)
    is_file: bool = True


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """A model whose source was found, checked and hashed."""

    model: Model
    path: Path
    format: str
    sha256: str
    convertible: bool


def resolve(model: Model, readers: Mapping[str, Reader]) -> ResolvedModel:
    """The reader's findings for ``model.source``; raises ``ModelError``."""
    path = Path(model.source)
    for name, reader in readers.items():
        if reader.is_file and not os.path.exists(path):
            continue
        try:
            claimed = reader.claims(model.source, path)
        except OSError as error:
            raise ModelError(f"model {model.name}: cannot read {path}: {error.strerror}") from None
        if claimed:
            try:
                if reader.is_file and path.is_file() and path.stat().st_size == 0:
                    raise ModelError("it is empty")
                reader.check(model, path)
                identity = reader.identity(model, path)
            except ModelError as error:
                raise ModelError(
                    f"model {model.name}: {model.source}: {error.message}", hint=error.hint
                ) from None
            return ResolvedModel(model, path, name, identity, reader.load is not None)
    if not os.path.exists(path):
        raise ModelError(f"model {model.name}: there is no file {path}")
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
    if not os.path.isfile(path):
        return b""
    with open(path, "rb") as stream:
        return stream.read(count)
