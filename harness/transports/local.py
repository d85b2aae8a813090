"""This machine as a device: commands in processes of their own."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from harness.cache import cache_dir
from harness.domain import Device
from harness.errors import (
    AgentSetupError,
    AgentTimeoutError,
    DeviceFullError,
    LinkLostError,
    PullError,
    PushError,
)
from harness.transports.lines import LineReader, Tail
from harness.transports.transport import MAX_OUTPUT, Completed, Upload

_CHUNK = 1 << 20


class LocalProcess:
    """A child process in a session of its own, so that Ctrl-C reaches only the orchestrator."""

    def __init__(self, argv: Sequence[str]) -> None:
        try:
            self._child = subprocess.Popen(
                list(argv),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise AgentSetupError(
                f"cannot start {argv[0]}: {error.strerror}",
                hint="set `python` of this device to a Python 3.7 or later",
            ) from None
        assert self._child.stdout and self._child.stderr
        self._lines = LineReader(self._receive)
        stderr = self._child.stderr
        self._tail = Tail(lambda: stderr.read(4096))

    def _receive(self, timeout: float) -> bytes | None:
        assert self._child.stdout
        readable, _, _ = select.select([self._child.stdout], [], [], timeout)
        return os.read(self._child.stdout.fileno(), 1 << 16) if readable else None

    def send(self, data: bytes) -> None:
        """See ``Process``."""
        assert self._child.stdin
        try:
            self._child.stdin.write(data)
        except OSError:
            raise LinkLostError("the process ended before it read its request") from None

    def read_line(self, timeout: float) -> bytes:
        """See ``Process``."""
        return self._lines.read_line(timeout)

    def wait(self, timeout: float) -> int | None:
        """See ``Process``."""
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """See ``Process``."""
        with contextlib.suppress(OSError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._tail.text()
        for stream in (self._child.stdin, self._child.stdout, self._child.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()

    def stderr_tail(self) -> str:
        """See ``Process``."""
        return self._tail.text()


def copy_bounded(remote: str, local: Path, limit: int) -> int:
    """Copy a file of this machine, see ``Transport.get``."""
    try:
        with open(os.path.expanduser(remote), "rb") as source, open(local, "wb") as target:
            size = os.fstat(source.fileno()).st_size
            if size > limit:
                raise PullError(f"{remote} has {size:,} bytes, and at most {limit:,} were expected")
            shutil.copyfileobj(source, target, _CHUNK)
    except OSError as error:
        raise PullError(f"cannot copy {remote}: {error.strerror}") from None
    return size


class LocalTransport:
    """The machine that the orchestrator runs on."""

    kind_is_simulated: ClassVar[bool] = False
    resumes: ClassVar[bool] = True

    def __init__(self, device: Device) -> None:
        self._device = device

    @property
    def runs_on_host(self) -> bool:
        """Always."""
        return True

    @property
    def address(self) -> str:
        """One per machine, whatever the profile is called."""
        return "local"

    @property
    def python(self) -> str:
        """The profile's ``python``, else the interpreter that runs the orchestrator."""
        python = self._device.link.get("python")
        return os.path.expanduser(str(python)) if python else sys.executable

    @property
    def work_dir(self) -> str:
        """The profile's ``work_dir``, else a folder of the user's cache."""
        return str(self._device.link.get("work_dir") or cache_dir("device"))

    def open(self) -> None:
        """Nothing to connect."""

    def close(self) -> None:
        """Nothing to close."""

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> Completed:
        """See ``Transport``."""
        try:
            done = subprocess.run(
                list(argv), input=stdin, capture_output=True, timeout=timeout,
                start_new_session=True, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise AgentTimeoutError(f"{argv[0]} did not end within {timeout:g} s") from None
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EACCES):
                return Completed(127, b"", f"{argv[0]}: {error.strerror}".encode())
            if error.errno in (errno.ENOEXEC, errno.E2BIG):
                return Completed(126, b"", f"{argv[0]}: {error.strerror}".encode())
            raise LinkLostError(f"cannot run {argv[0]}: {error.strerror}") from None
        return Completed(done.returncode, done.stdout[:MAX_OUTPUT], done.stderr[:MAX_OUTPUT])

    def put(self, files: Sequence[Upload], progress: Callable[[int], None]) -> None:
        """See ``Transport``."""
        for file in files:
            self._put(file, progress)

    def _put(self, file: Upload, progress: Callable[[int], None]) -> None:
        try:
            with open(file.local, "rb") as source, open(file.remote, "ab") as target:
                source.seek(file.offset)
                target.truncate(file.offset)
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
                    progress(len(chunk))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                free = shutil.disk_usage(os.path.dirname(file.remote)).free
                raise DeviceFullError(
                    f"no space left for {file.local.name} ({file.local.stat().st_size:,} bytes; "
                    f"{free:,} free in {os.path.dirname(file.remote)})",
                    hint="free some space, or set work_dir of this device to another disk",
                ) from None
            raise PushError(f"cannot write {file.remote}: {error.strerror}") from None

    def get(self, remote: str, local: Path, *, limit: int) -> int:
        """See ``Transport``."""
        return copy_bounded(remote, local, limit)

    def start(self, argv: Sequence[str]) -> LocalProcess:
        """See ``Transport``."""
        return LocalProcess(argv)

    def stay(self, argv: Sequence[str]) -> LocalProcess:
        """See ``Transport``."""
        return self.start(argv)
