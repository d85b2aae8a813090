"""Debian's real adb server for tests: its own port, its own home, its own key."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.domain import Backend, Device, DeviceKind
from harness.emulation.android import AndroidTarget
from harness.errors import MissingToolError
from harness.transports.adb import AdbTransport
from harness.transports.adb_devices import discover
from harness.transports.adb_keys import make_key
from harness.transports.adb_server import AttachedDevice, server_address
from tests.support import needed

#: Names of files and arguments that a careless link would trip over.
HOSTILE = [
    "a 'quoted' \"name\"",
    "two\nlines",
    "-n",
    "$(touch /data/local/tmp/pwned)`touch /data/local/tmp/pwned`",
    "; touch /data/local/tmp/pwned #",
    "größe,420 ☃",
    "back\\slash *?",
]

Opened = Callable[..., AdbTransport]


@dataclass
class Adb:
    """A running server and the home whose key it shows."""

    home: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """For ``adb_server`` of a profile."""
        return f"127.0.0.1:{self.port}"

    @property
    def key(self) -> Path:
        """The private key; the public one is beside it."""
        return self.home / ".android" / "adbkey"

    def __call__(self, *arguments: str) -> str:
        """What the real client prints; it must succeed."""
        return subprocess.run(
            ["adb", "-P", str(self.port), *arguments],
            capture_output=True, text=True, check=True, env=self.environment, timeout=60,
        ).stdout  # fmt: skip

    @property
    def environment(self) -> dict[str, str]:
        """The client's and the server's."""
        kept = {name: value for name, value in os.environ.items() if "ADB" not in name}
        return {**kept, "HOME": str(self.home), "ADB_MDNS": "0"}

    def devices(self) -> dict[str, AttachedDevice]:
        """What is attached, by serial."""
        return {found.serial: found for found in discover(server_address(self.address))}

    def by_server(self, target: AndroidTarget, **link: object) -> Device:
        """A device that is reached by this server."""
        return adb_device(adb_server=self.address, **{"serial": target.serial, **link})

    def directly(self, target: AndroidTarget, **link: object) -> Device:
        """A device that is reached without it, with the same key."""
        return adb_device(
            **{"host": "127.0.0.1", "port": target.port, "adb_key": str(self.key), **link}
        )

    def stop(self) -> None:
        """End it; we started it."""
        self.process.terminate()
        self.process.wait(10)


def adb_device(**link: object) -> Device:
    """A phone with a link of these settings."""
    return Device(
        name="phone",
        kind=DeviceKind.EMULATED,
        transport="adb",
        title="phone",
        accelerators=("cpu",),
        default_backend=Backend.parse("cpu"),
        link=link,
    )


@contextlib.contextmanager
def start_adb(home: Path) -> Iterator[Adb]:
    """Start a server whose key is in ``home``."""
    if shutil.which("adb") is None:
        needed("adb is not installed (Debian: adb)")
    home.mkdir(mode=0o700, exist_ok=True)
    if not (home / ".android" / "adbkey").exists():
        make_key(home / ".android" / "adbkey")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = Adb(home, port, None)  # type: ignore[arg-type]
    with open(home / "log", "wb") as log:
        server.process = subprocess.Popen(
            ["adb", "-P", str(port), "nodaemon", "server"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=server.environment,
        )  # fmt: skip
    try:
        _wait_for(server)
        yield server
    finally:
        server.stop()


def _wait_for(server: Adb) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline and server.process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port), 1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"adb does not serve: {(server.home / 'log').read_text()}")


@contextlib.contextmanager
def start_android(key: Path, **settings: object) -> Iterator[AndroidTarget]:
    """An emulated Android that knows ``key``."""
    target = AndroidTarget(
        **{"authorized_keys": [key.with_name(key.name + ".pub")], **settings}  # type: ignore[arg-type]
    )
    try:
        target.start(lambda text: None)
    except MissingToolError as error:
        needed(str(error))
    try:
        yield target
    finally:
        target.stop()
