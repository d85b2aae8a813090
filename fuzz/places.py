"""Where good inputs come from, and a folder for the files of a target."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from fuzz.guard import ROOT

#: The environment variable with the folder of a target's files.
FOLDER = "HARNESS_FUZZ_FOLDER"

#: See unshare(2).
_CLONE_NEWUSER, _CLONE_NEWNS = 0x10000000, 0x00020000


def shared(*patterns: str, most: int = 1 << 16) -> list[bytes]:
    """Files of the folder ``$HARNESS_SHARED`` that are not too long; none where it is missing."""
    folder = Path(os.environ.get("HARNESS_SHARED") or ROOT.parent / "shared")
    return contents((path for pattern in patterns for path in sorted(folder.glob(pattern))), most)


def contents(paths: Iterable[Path], most: int = 1 << 16) -> list[bytes]:
    """The files that are not too long."""
    return [path.read_bytes() for path in paths if path.stat().st_size <= most]


def in_memory() -> str | None:
    """Where files cost least, if there is such a place."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@cache
def folder() -> Path:
    """This process' own; who starts it removes it."""
    return Path(os.environ.get(FOLDER) or tempfile.mkdtemp(prefix="harness-fuzz-"))


def written(name: str, data: bytes) -> Path:
    """A file of that name with these bytes."""
    path = folder() / name
    path.write_bytes(data)
    return path


def stay_in_folder() -> None:
    """The folder is the root of this process from now on; it has to be without threads."""
    place = folder()
    if os.getuid() != 0:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "no user namespace of one's own, and not root")
    os.chroot(place)
    os.chdir("/")
