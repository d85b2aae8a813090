"""Clients of an emulated Android: Debian's adb with a server of its own, and bare messages."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import adb_protocol as wire
from harness.emulation.android import AndroidTarget
from harness.errors import MissingToolError
from tests.support import needed


def wait_until(what: Callable[[], object], seconds: float = 20) -> None:
    """Until it is true; fails after a while."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def started(**options: object) -> AndroidTarget:
    """A running one; the test is skipped where the system does not allow it."""
    target = AndroidTarget(**options)  # type: ignore[arg-type]
    try:
        target.start(lambda text: None)
    except MissingToolError as error:
        needed(str(error))
    return target


@dataclass
class Adb:
    """The real client, with server, keys and settings of its own."""

    env: dict[str, str]
    home: Path

    @property
    def public_key(self) -> Path:
        return self.home / ".android" / "adbkey.pub"

    def __call__(
        self, *arguments: str | Path, stdin: bytes = b"", ok: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            ["adb", *map(str, arguments)], env=self.env, input=stdin, capture_output=True,
            timeout=60, check=False,
        )  # fmt: skip
        assert not ok or done.returncode == 0, done
        return done

    def shell(self, target: AndroidTarget, command: str) -> str:
        """What a command prints; it must end well."""
        return self("-s", target.serial, "shell", command).stdout.decode()

    def connect(self, target: AndroidTarget) -> None:
        """Until it is online."""
        wait_until(lambda: b"connected to" in self("connect", target.serial, ok=False).stdout)
        self("-s", target.serial, "wait-for-device")

    def state(self, target: AndroidTarget) -> str:
        """The word after its serial in ``adb devices``."""
        for line in self("devices").stdout.decode().splitlines():
            serial, _, state = line.partition("\t")
            if serial == target.serial:
                return state
        return ""


@contextlib.contextmanager
def adb_server(folder: Path) -> Iterator[Adb]:
    """Debian's adb with its own server, which ends with it; the user's is not touched."""
    if shutil.which("adb") is None:
        needed("adb is not installed (Debian: adb)")
    (folder / ".android").mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "ANDROID_SDK_HOME": str(folder),
        "TMPDIR": str(folder), "ANDROID_ADB_SERVER_PORT": str(port),
        "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553",
    }  # fmt: skip
    adb = Adb(env, folder)
    adb("start-server")
    try:
        yield adb
    finally:
        adb("kill-server")


class Raw:
    """A client that sends what it is told to, right or wrong."""

    def __init__(self, target: AndroidTarget, version: int = wire.VERSION) -> None:
        self.checked = version < wire.VERSION
        self.version = version
        self.socket = socket.create_connection(("127.0.0.1", target.port), 20)
        self.socket.settimeout(20)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *error: object) -> None:
        self.socket.close()

    def send(self, command: int, arg0: int = 0, arg1: int = 0, data: bytes = b"") -> None:
        head = wire.header(command, arg0, arg1, data, checked=True)
        self.socket.sendall(head + data)

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            piece = self.socket.recv(count - len(found))
            if not piece:
                raise EOFError
            found += piece
        return found

    def receive(self) -> tuple[int, int, int, bytes]:
        """The next message."""
        command, arg0, arg1, length, checksum, magic = struct.unpack("<6I", self._exactly(24))
        assert magic == command ^ 0xFFFFFFFF
        data = self._exactly(length)
        assert checksum in ((sum(data),) if self.checked else (sum(data), 0))
        return command, arg0, arg1, data

    def connect(self, maxdata: int = 1 << 20) -> bytes:
        """The handshake with a device that lets everybody in; its banner."""
        self.send(wire.CNXN, self.version, maxdata, b"host::features=shell_v2\0")
        command, _, _, banner = self.receive()
        assert command == wire.CNXN
        return banner

    def open(self, name: bytes, mine: int = 7) -> int:
        """Open a stream; the device's number of it, 0 if it refuses."""
        self.send(wire.OPEN, mine, 0, name + b"\0")
        command, theirs, ours, _ = self.receive()
        assert ours == mine
        assert command in (wire.OKAY, wire.CLSE)
        return theirs if command == wire.OKAY else 0

    def all(self, mine: int = 7) -> bytes:
        """Everything that comes on a stream until the device closes it."""
        found = b""
        while True:
            command, theirs, ours, data = self.receive()
            if ours != mine:
                continue
            if command == wire.CLSE:
                return found
            if command == wire.WRTE:
                found += data
                self.send(wire.OKAY, mine, theirs)

    def closed(self) -> bool:
        """Whether the device hangs up, whatever it says before."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except TimeoutError:
            return False
        except ConnectionError:
            pass
        return True
