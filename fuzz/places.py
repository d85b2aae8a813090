"""Where good inputs come from, and a folder for the files of a target."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from fuzz.guard import ROOT


def shared(*patterns: str, most: int = 1 << 16) -> list[bytes]:
    """Files of the folder ``$HARNESS_SHARED`` that are not too long; none where it is missing."""
    folder = Path(os.environ.get("HARNESS_SHARED") or ROOT.parent / "shared")
    return contents((path for pattern in patterns for path in sorted(folder.glob(pattern))), most)


def contents(paths: Iterable[Path], most: int = 1 << 16) -> list[bytes]:
    """The files that are not too long."""
    return [path.read_bytes() for path in paths if path.stat().st_size <= most]


@cache
def folder() -> Path:
    """This process' own, in memory where there is such a place; removed at its end."""
    memory = "/dev/shm"
    base = memory if os.access(memory, os.W_OK) else None
    made = Path(tempfile.mkdtemp(prefix="harness-fuzz-", dir=base))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def written(name: str, data: bytes) -> Path:
    """A file of that name with these bytes."""
    path = folder() / name
    path.write_bytes(data)
    return path
