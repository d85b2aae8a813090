"""One session per device at a time, across the processes of this machine."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from datetime import datetime
from typing import IO

from harness.cache import cache_dir
from harness.errors import DeviceBusyError


class DeviceLock:
    """A kernel lock on a file named by the device's address; it ends with its process."""

    def __init__(self, address: str, device: str, owner: str) -> None:
        name = hashlib.sha256(address.encode()).hexdigest()[:24]
        self._path = cache_dir("locks") / f"device-{name}.lock"
        self._device, self._owner = device, owner
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the lock; raises ``DeviceBusyError`` naming who holds it."""
        file = open(self._path, "a+", encoding="utf-8")  # noqa: SIM115  held until release
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            try:
                holder = json.loads(file.read())
                who = f"{holder['owner']} (process {holder['pid']}) since {holder['since']}"
            except (ValueError, KeyError, TypeError):
                who = "another process"
            file.close()
            raise DeviceBusyError(
                f"device {self._device} is in use by {who}",
                hint="wait for it to end, or leave the device out with --device",
            ) from None
        file.seek(0)
        file.truncate()
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        json.dump({"owner": self._owner, "pid": os.getpid(), "since": since}, file)
        file.flush()
        self._file = file

    def release(self) -> None:
        """Let go; never raises."""
        if self._file is not None:
            self._file.close()
            self._file = None


class HostLock:
    """Keeps other runs of this machine from disturbing a measurement on it.

    Measuring this machine takes it alone (``exclusive``); conversions and simulated devices,
    which load its processors, share it. The kernel frees it with its process.
    """

    def __init__(self, *, exclusive: bool) -> None:
        self._kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        self._file: IO[str] | None = None

    def try_acquire(self) -> bool:
        """Take the lock if nobody is in the way."""
        file = open(cache_dir("locks") / "host.lock", "a+", encoding="utf-8")  # noqa: SIM115
        try:
            fcntl.flock(file, self._kind | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Let go; never raises."""
        if self._file is not None:
            self._file.close()
            self._file = None
