"""Where the harness keeps what it can make again: one folder per user.

``$HARNESS_CACHE``, else ``$XDG_CACHE_HOME/edge-harness``, else ``~/.cache/edge-harness``.
Everything in it is named by what determines it, and written whole or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from harness.errors import HarnessError


def expanded(path: str | Path) -> Path:
    """The path with ``~`` and ``~user`` as a shell has them; that of an unknown user stays."""
    return Path(os.path.expanduser(path))


def cache_dir(*parts: str) -> Path:
    """A folder of the cache, made if it is not there (private to the user)."""
    chosen = os.environ.get("HARNESS_CACHE")
    if not chosen:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        chosen = os.path.join(base, "edge-harness")
    folder = expanded(chosen).joinpath(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise HarnessError(
            f"cannot make the cache folder {folder}: {error.strerror}",
            hint="free some space, or set HARNESS_CACHE to a folder that can be written",
        ) from None
    return folder


def lock_file(name: str) -> IO[str]:
    """A file to hold a lock of the kernel on, open; raises ``HarnessError``."""
    path = cache_dir("locks") / f"{name}.lock"
    try:
        return path.open("w", encoding="utf-8")
    except OSError as error:
        raise HarnessError(
            f"cannot write {path}: {error.strerror}",
            hint="set HARNESS_CACHE to a folder that can be written",
        ) from None


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def json_sha256(value: Any) -> str:
    """The sha256 of a JSON value in its canonical form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def bounded(path: Path, most: int) -> bytes:
    """The content of a regular file, at most one byte more than ``most``; raises ``OSError``.

    A pipe would wait for its writer for ever, and a device has no end.
    """
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "not a regular file")
    with path.open("rb") as file:
        return file.read(most + 1)


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A temporary path beside ``target`` that replaces it when the block ends well."""
    part: Path | None = None
    try:
        handle, name = tempfile.mkstemp(prefix=".part-", dir=target.parent)
        os.close(handle)
        part = Path(name)
        yield part
        os.replace(part, target)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise HarnessError(
            f"cannot write {target}: {error.strerror or error}",
            hint="free some space, or write to another disk" if full else None,
        ) from None
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
