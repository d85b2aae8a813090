"""The files of a simulated device, kept as ``store.sh`` keeps those of any other.

The same requests and answers (PROTOCOL.md, "The device's files"), without a shell for each. A file
is not copied for each device: it is a link to one copy in a pool that all simulated devices
of this user share. So nothing may ever write into such a file; a damaged one is a new file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.cache import cache_dir, whole_file
from harness.transports.modelled.content import content_of
from harness.transports.transport import Completed, Upload

#: Bytes that the pool keeps for devices to come; the least recently used go first.
POOL_BYTES = 4 * 2**30

#: Parts that nobody has touched for so many seconds are of a push that was given up.
_STALE = 3600


def answer(arguments: Sequence[str]) -> Completed:
    """What ``store.sh`` answers to ``OP ROOT TOKEN [SHA256:MODE ...]``; never raises."""
    try:
        op, root, token, *marks = arguments
        names = [mark.partition(":")[0] for mark in marks]
        if not _is_hex(token) or not all(_is_hex(name) and len(name) == 64 for name in names):
            return Completed(2, b"", b"not a token or not a sha256")
        lines = list(_OPERATIONS[op](Path(root), token, names))
        free = shutil.disk_usage(root).free // 1024 if Path(root).is_dir() else 0
    except (KeyError, ValueError):
        return Completed(2, b"", b"unknown op")
    except OSError as error:
        return Completed(1, b"", str(error.strerror).encode())
    body = ["edge-harness-store 1", *lines, f"free_kb {free}", f"root {root}", "end", ""]
    return Completed(0, "\n".join(body).encode(), b"")


def place(file: Upload, progress: Callable[[int], None]) -> bool:
    """Put a whole file where a push wants it, as a link; false where it must be copied."""
    if file.offset or file.place is None:
        return False
    size = file.local.stat().st_size
    kept = cache_dir("host", "simulated", "pool") / file.place.sha256
    try:
        if content_of(kept).sha256 != file.place.sha256:
            kept.unlink()
            raise FileNotFoundError
    except OSError:
        with whole_file(kept) as part:
            shutil.copyfile(file.local, part)
        prune(kept.parent, keep=kept.name)
    with contextlib.suppress(OSError):
        Path(file.remote).unlink(missing_ok=True)
        os.link(kept, file.remote)
        progress(size)
        return True
    return False


def prune(pool: Path, most: int | None = None, keep: str = "") -> None:
    """Let go what no device has a link to, until all that the pool holds is ``most`` bytes.

    ``POOL_BYTES`` by default. What devices have would not be freed by that, and each of them has a
    limit of its own (``work_dir_mb``). Parts of a push that was given up go too; ``keep`` stays.
    """
    most = POOL_BYTES if most is None else most
    held = 0
    unused: list[tuple[int, str, int]] = []
    with contextlib.suppress(OSError), os.scandir(pool) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                if entry.name.startswith(".part-"):
                    if time.time() - status.st_ctime > _STALE:
                        os.unlink(entry.path)
                    continue
                held += status.st_size
                if status.st_nlink == 1 and entry.name != keep:
                    unused.append((status.st_atime_ns, entry.path, status.st_size))
    for _, path, size in sorted(unused):
        if held <= most:
            break
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
            held -= size


def _is_hex(text: str) -> bool:
    return bool(text) and not set(text) - set("0123456789abcdef")


def _holds(file: Path, name: str) -> bool:
    try:
        return content_of(file).sha256 == name
    except OSError:
        return False


def _listed(word: str, folder: Path) -> Iterator[str]:
    """The files of a folder, the one that was used last first."""
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        found = [(entry.stat(follow_symlinks=False), entry.name) for entry in entries]
    for status, name in sorted(found, key=lambda item: (-item[0].st_atime_ns, item[1])):
        yield f"{word} {name} {status.st_size}"


def _look(root: Path, _token: str, names: Sequence[str]) -> Iterator[str]:
    for folder in ("blobs", "parts"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    now = time.time()
    for part in (root / "parts").iterdir():
        if now - part.stat().st_ctime > _STALE:
            part.unlink(missing_ok=True)
    for name in names:
        blob = root / "blobs" / name
        if not blob.exists():
            continue
        if _holds(blob, name):
            status = blob.stat()
            # Its use, not its content, is what has changed.
            os.utime(blob, ns=(time.time_ns(), status.st_mtime_ns))
            yield f"has {name}"
        else:
            blob.unlink()
    yield from _listed("blob", root / "blobs")
    yield from _listed("part", root / "parts")


def _commit(root: Path, token: str, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        part = root / "parts" / f"{name}.{token}"
        if _holds(part, name):
            os.replace(part, root / "blobs" / name)
            # Of two links to one file, rename(2) does nothing.
            part.unlink(missing_ok=True)
            yield f"has {name}"
        else:
            part.unlink(missing_ok=True)


def _drop(root: Path, token: str, _names: Sequence[str]) -> Iterator[str]:
    for part in (root / "parts").glob(f"*.{token}*"):
        part.unlink(missing_ok=True)
    return iter(())


def _evict(root: Path, _token: str, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        (root / "blobs" / name).unlink(missing_ok=True)
    return iter(())


def _clean(root: Path, _token: str, _names: Sequence[str]) -> Iterator[str]:
    for folder in (root / "blobs", root / "parts"):
        for line in list(_listed("gone", folder)):
            name = line.split(" ")[1]
            stem = name.partition(".")[0]
            if len(stem) == 64 and _is_hex(stem):
                (folder / name).unlink(missing_ok=True)
                yield line
        with contextlib.suppress(OSError):
            folder.rmdir()


_OPERATIONS = {"look": _look, "commit": _commit, "drop": _drop, "evict": _evict, "clean": _clean}
