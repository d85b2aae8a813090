"""The program that an emulated Android runs: services behind one listening socket.

Started by ``target`` with its settings as JSON; speaks with it in lines of JSON over a socket:
asks for the keys that may connect, is told to cut connections, and ends when that socket does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.emulation.android.connection import Connection
from harness.emulation.android.image import Image
from harness.emulation.android.sandbox import REBOOT, enter
from harness.emulation.android.shell import Command, parse_request
from harness.emulation.android.streams import Service, Stream, Text
from harness.emulation.android.sync import Sync

#: What of adb's features a device has since Android 7; before it had none.
FEATURES = ("shell_v2", "stat_v2", "ls_v2", "fixed_push_mkdir")

MAX_CONNECTIONS = 16
MAX_COMMANDS = 64

_ENVIRONMENT = {
    "ANDROID_DATA": "/data",
    "ANDROID_ROOT": "/system",
    "HOME": "/",
    "HOSTNAME": "emulated",
    "LOGNAME": "shell",
    "PATH": "/product/bin:/apex/com.android.runtime/bin:/system/bin:/vendor/bin",
    "SHELL": "/system/bin/sh",
    "TMPDIR": "/data/local/tmp",
    "USER": "shell",
}

#: Refusals of services that a phone without root has.
_REFUSALS = {
    "root": "adbd cannot run as root in production builds\n",
    "unroot": "adbd not running as root\n",
    "remount": 'Not running as root. Try "adb root" first.\n',
    "tcpip": "error: this device is emulated and keeps its port\n",
    "usb": "error: this device is emulated and has no USB\n",
}


def banner(properties: Collection[tuple[str, str]], features: Collection[str]) -> bytes:
    """The device's identity in its CNXN: what ``adb devices -l`` prints, and its abilities."""
    parts = [f"{name}={value}" for name, value in properties]
    return ("device::" + ";".join([*parts, "features=" + ",".join(features)])).encode()


class Daemon:
    """What connections share; see ``connection.Host``."""

    def __init__(self, settings: dict[str, Any], outside: socket.socket) -> None:
        self.version = int(settings["version"])
        self.authenticate = bool(settings["authenticate"])
        self.max_payload = int(settings["max_payload"])
        self.banner = banner(settings["identity"], FEATURES if settings["features"] else ())
        self._outside = outside
        self._connections: list[Connection] = []
        self._commands = 0
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._next = 0
        self._writer: asyncio.StreamWriter | None = None
        self._over: asyncio.Future[int] | None = None

    async def serve(self, listener: socket.socket) -> int:
        """Until told to end; returns the exit code."""
        loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        reader, self._writer = await asyncio.open_connection(sock=self._outside)
        server = await loop.create_server(lambda: Connection(self), sock=listener)
        follow = asyncio.ensure_future(self._follow(reader))
        self._tell({"tell": "ready"})
        code = await self._over
        server.close()
        follow.cancel()
        for connection in list(self._connections):
            connection.abort()
        return code

    def _finish(self, code: int) -> None:
        if self._over is not None and not self._over.done():
            self._over.set_result(code)

    # -- the machine outside --------------------------------------------------------------

    async def _follow(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                self._heard(json.loads(line))
        finally:
            self._finish(0)

    def _heard(self, message: dict[str, Any]) -> None:
        if "answer" in message:
            future = self._asked.pop(message["id"], None)
            if future is not None and not future.done():
                future.set_result(message["answer"])
        elif message.get("do") == "cut":
            for connection in list(self._connections):
                connection.abort()

    def _tell(self, message: dict[str, Any]) -> None:
        if self._writer is not None:
            self._writer.write(json.dumps(message).encode() + b"\n")

    async def _ask(self, what: str, **details: str) -> Any:
        self._next += 1
        future = self._asked[self._next] = asyncio.get_running_loop().create_future()
        self._tell({"ask": what, "id": self._next, **details})
        return await future

    async def keys(self) -> Sequence[str]:
        """See ``Host``."""
        return [str(key) for key in await self._ask("keys")]

    async def accepts(self, key: str) -> bool:
        """See ``Host``."""
        return bool(await self._ask("accept", key=key))

    # -- connections ----------------------------------------------------------------------

    def joined(self, connection: Connection) -> None:
        """See ``Host``; the oldest that nobody let in makes room."""
        self._connections.append(connection)
        if len(self._connections) > MAX_CONNECTIONS:
            waiting = [other for other in self._connections if not other.online]
            waiting[0].abort()

    def left(self, connection: Connection) -> None:
        """See ``Host``."""
        with contextlib.suppress(ValueError):
            self._connections.remove(connection)

    def service(self, name: bytes, stream: Stream) -> Callable[[], Service] | None:
        """See ``Host``."""
        kind, _, rest = name.partition(b":")
        word = kind.decode("ascii", "replace")
        if word == "sync":
            return lambda: Sync(stream)
        if word == "reboot":
            asyncio.get_running_loop().call_later(0.1, self._finish, REBOOT)
            return lambda: Text(stream, "")
        if word in _REFUSALS:
            return lambda: Text(stream, _REFUSALS[word])
        request = parse_request(word, rest)
        if request is None or b"\0" in rest or "\0" in request.term:
            return None
        if self._commands >= MAX_COMMANDS:
            return None
        return lambda: self._command(Command(stream, request, _ENVIRONMENT, self._ended))

    def _command(self, command: Command) -> Command:
        self._commands += 1
        return command

    def _ended(self) -> None:
        self._commands -= 1


def _run(settings: dict[str, Any], listener: socket.socket, outside: socket.socket) -> int:
    try:
        return asyncio.run(Daemon(settings, outside).serve(listener))
    except (KeyboardInterrupt, ConnectionError):
        return 0


def main() -> None:
    """``daemon SETTINGS``: JSON with the folder, the two sockets' numbers and the identity."""
    settings = json.loads(sys.argv[1])
    listener = socket.socket(fileno=int(settings["listener"]))
    outside = socket.socket(fileno=int(settings["outside"]))
    for one in (listener, outside):
        os.set_inheritable(one.fileno(), False)
    # What would be imported at first use is not there any more by then.
    import encodings.idna  # noqa: F401
    import subprocess  # noqa: F401

    image = Image(Path(settings["folder"]))
    try:
        enter(
            image, partial(_run, settings, listener, outside),
            listener=listener.fileno(), data_mb=int(settings["data_mb"]),
            temporary=bool(settings["temporary"]),
        )  # fmt: skip
    except OSError as error:
        failure = {"tell": "failed", "step": str(error.filename), "reason": str(error.strerror)}
        outside.sendall(json.dumps(failure).encode() + b"\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
