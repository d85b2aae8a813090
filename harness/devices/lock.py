"""One session per device at a time, across the processes and users of this machine."""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import stat
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from harness.cache import cache_dir
from harness.devices import messages
from harness.errors import DeviceBusyError, HarnessError

#: Where the locks are that all users of this machine share; ``HARNESS_LOCKS`` names another.
SHARED_LOCKS = "/tmp/edge-harness-locks"  # noqa: S108  as /tmp itself: see shared_folder

#: Bytes of a lock file that are read: others may have written it.
_MOST = 1000


def shared_folder() -> Path:
    """A folder in which everybody may make files, and nobody can touch those of another."""
    folder = Path(os.environ.get("HARNESS_LOCKS") or SHARED_LOCKS)
    try:
        with suppress(FileExistsError):
            folder.mkdir()
            folder.chmod(0o1777)
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise NotADirectoryError(20, "it is no folder")
    except OSError as error:
        raise HarnessError(
            f"cannot use {folder} for locks: {error.strerror}",
            hint="set HARNESS_LOCKS to a folder that every user of this machine can write to",
        ) from None
    return folder


def _open(path: Path) -> int:
    """The lock file, made for everybody; never what a link of another user points to."""
    for _ in range(10):
        # Without O_CREAT first: Linux refuses that for files of others (fs.protected_regular).
        for flags in (os.O_RDWR, os.O_RDWR | os.O_CREAT | os.O_EXCL):
            try:
                found = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
            except (FileNotFoundError, FileExistsError):
                continue
            except OSError as error:
                raise _unusable(path, str(error.strerror)) from None
            status = os.fstat(found)
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                os.close(found)
                raise _unusable(path, "it is no file of its own")
            if flags & os.O_CREAT and path.parent == shared_folder():
                os.fchmod(found, 0o666)
            return found
    raise _unusable(path, "it comes and goes")


def _unusable(path: Path, why: str) -> HarnessError:
    return HarnessError(
        f"cannot use the lock {path}: {why}", hint="remove it, or set HARNESS_LOCKS to a folder"
    )


class DeviceLock:
    """A kernel lock on a file named by the device's address; it ends with its process.

    ``private``: only this user's processes can reach the device, as a simulated one.
    """

    def __init__(self, address: str, device: str, owner: str, *, private: bool = False) -> None:
        self._name = f"device-{hashlib.sha256(address.encode()).hexdigest()[:24]}.lock"
        self._device, self._owner, self._private = device, owner, private
        self._file: int | None = None

    def acquire(self) -> None:
        """Take the lock; raises ``DeviceBusyError`` naming who holds it."""
        folder = cache_dir("locks") if self._private else shared_folder()
        file = _open(folder / self._name)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            who = _holder(file)
            os.close(file)
            raise DeviceBusyError(
                f"device {self._device} is in use by {who}",
                hint="wait for it to end, or leave the device out with --device",
            ) from None
        _note_holder(file, self._owner)
        self._file = file

    def release(self) -> None:
        """Let go; never raises."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _note_holder(file: int, owner: str) -> None:
    """Who holds it is for messages; the lock itself is the kernel's."""
    since = datetime.now().astimezone().isoformat(timespec="seconds")
    said = {"owner": owner, "user": user_name(), "pid": os.getpid(), "since": since}
    with suppress(OSError):
        # Padded, not cut to length: ext4 lets a truncated file wait for the disk, which took
        # 20 to 150 ms after a large push.
        os.pwrite(file, json.dumps(said).encode()[:_MOST].ljust(_MOST), 0)


def _holder(file: int) -> str:
    try:
        said = messages.clean(json.loads(os.pread(file, _MOST, 0)))
        of = f" of {said['user']}" if "user" in said else ""
        return f"{said['owner']} (process {said['pid']}{of}) since {said['since']}"[:300]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "another process"


def user_name() -> str:
    """Who we are, for people; a number where there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


class HostLock:
    """Keeps other runs of this machine, of all its users, from disturbing a measurement on it.

    Measuring this machine takes it alone (``exclusive``); conversions, simulated and emulated
    devices, which load its processors, share it. The kernel frees it with its process.
    """

    def __init__(self, owner: str, *, exclusive: bool) -> None:
        self._owner = owner
        self._kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        self._file: int | None = None
        self._before = self._noted = b""

    def acquire(self) -> None:
        """Take the lock; raises ``DeviceBusyError`` naming who has it.

        Of several that share it, that is the last one to have come.
        """
        file = _open(shared_folder() / "host.lock")
        try:
            fcntl.flock(file, self._kind | fcntl.LOCK_NB)
        except OSError:
            who = _holder(file)
            os.close(file)
            raise DeviceBusyError(
                f"this machine measures or computes for {who}",
                hint="wait for it to end; busy_timeout of the Policy says how long",
            ) from None
        with suppress(OSError):
            self._before = os.pread(file, _MOST, 0)
        _note_holder(file, self._owner)
        with suppress(OSError):
            self._noted = os.pread(file, _MOST, 0)
        self._file = file

    def release(self) -> None:
        """Let go; never raises."""
        if self._file is None:
            return
        with suppress(OSError):
            # Whoever had it before may share it still: the message shall not name who has left.
            if os.pread(self._file, _MOST, 0) == self._noted:
                os.pwrite(self._file, self._before.ljust(_MOST), 0)
        os.close(self._file)
        self._file = None
