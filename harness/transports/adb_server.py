"""The host's adb server, which owns the USB devices: what can be asked of it.

A request is four hexadecimal digits with its length, then its text; the answer is ``OKAY`` or
``FAIL`` and a text of the same form (``SERVICES.TXT`` of Android's adb). Nothing here starts a
server or ends one, and nothing touches a device that was not named.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
from dataclasses import dataclass

from harness.errors import ProtocolError, UnreachableError, UsageError
from harness.transports.adb_stream import ANSWER_TIMEOUT, Incoming, Refusal, SocketStream

#: Seconds to reach a server; it is nearly always on this machine.
CONNECT_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a server listens: ``host`` and ``port``, or the ``path`` of a Unix socket."""

    host: str = "127.0.0.1"
    port: int = 5037
    path: str = ""

    def __str__(self) -> str:
        return self.path.replace("\0", "@") or f"{self.host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine."""
        return bool(self.path) or is_loopback(self.host)


@dataclass(frozen=True, slots=True)
class AttachedDevice:
    """A device that a server knows of.

    ``state`` in adb's words: ``device`` (ready), ``offline``, ``unauthorized``, ``no permissions``
    with a reason, ``recovery``, ``bootloader``, ...; the rest may be empty until it is ready.
    """

    serial: str
    state: str
    product: str = ""
    model: str = ""
    path: str = ""

    @property
    def ready(self) -> bool:
        """Whether it takes commands."""
        return self.state == "device"


def is_loopback(host: str) -> bool:
    """Whether a name or an address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def server_address(setting: str | None = None) -> ServerAddress:
    """A profile's ``adb_server``, else what ``adb`` itself goes by; raises ``UsageError``."""
    text, where = setting, "adb_server"
    if not text:
        text, where = os.environ.get("ADB_SERVER_SOCKET"), "ADB_SERVER_SOCKET"
    if not text:
        host = os.environ.get("ANDROID_ADB_SERVER_ADDRESS") or "127.0.0.1"
        text = f"tcp:{host}:{os.environ.get('ANDROID_ADB_SERVER_PORT') or 5037}"
        where = "ANDROID_ADB_SERVER_PORT"
    for prefix, mark in (("localfilesystem:", ""), ("localabstract:", "\0")):
        if text.startswith(prefix) and len(text) > len(prefix):
            return ServerAddress(path=mark + text.removeprefix(prefix))
    found = re.fullmatch(r"(?:(\[[^]]+\]|[^:]+):)?(\d{1,5})", text.removeprefix("tcp:"))
    if not found or not 0 < int(found[2]) < 65536:
        raise UsageError(
            f"{where}: {text!r} is no address of an adb server", hint="write HOST:PORT"
        )
    return ServerAddress((found[1] or "127.0.0.1").strip("[]"), int(found[2]))


class AdbServer:
    """A running server; every request is a connection of its own."""

    def __init__(self, address: ServerAddress) -> None:
        self.address = address

    def ask(self, request: str, timeout: float = ANSWER_TIMEOUT) -> str:
        """The text that answers a request; raises ``Refusal``, ``UnreachableError``."""
        stream, incoming = self._request(request.encode("utf-8", "surrogateescape"), timeout)
        try:
            size = _size(incoming.exactly(4, timeout))
            return incoming.exactly(size, timeout).decode("utf-8", "replace")
        except (EOFError, TimeoutError):
            raise self._silent() from None
        finally:
            stream.close()

    def stream(self, serial: str, service: bytes) -> SocketStream:
        """A service of a device; raises ``Refusal``, ``UnreachableError``."""
        stream, incoming = self._request(
            b"host:transport:" + serial.encode("utf-8", "surrogateescape")
        )
        try:
            _send(stream, incoming, service)
            stream.unread(incoming.rest())
        except BaseException:
            stream.close()
            raise
        return stream

    def devices(self) -> tuple[AttachedDevice, ...]:
        """What is attached, in the server's order; raises ``UnreachableError``."""
        found = []
        more = {
            line.split(maxsplit=1)[0]: line
            for line in self.ask("host:devices-l").splitlines()
            if line.strip()
        }
        for line in self.ask("host:devices").splitlines():
            serial, _, state = line.partition("\t")
            details = dict(re.findall(r"\b(product|model|usb):(\S+)", more.get(serial, "")))
            if serial:
                found.append(
                    AttachedDevice(
                        serial=serial,
                        state=state.strip(),
                        product=details.get("product", ""),
                        model=details.get("model", "").replace("_", " "),
                        path=f"usb:{details['usb']}" if "usb" in details else "",
                    )
                )
        return tuple(found)

    def _connect(self) -> socket.socket:
        address = self.address
        try:
            if not address.path:
                return socket.create_connection((address.host, address.port), CONNECT_TIMEOUT)
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.settimeout(CONNECT_TIMEOUT)
                connection.connect(address.path)
            except BaseException:
                connection.close()
                raise
            return connection
        except OSError as error:
            reason = "no such host" if isinstance(error, socket.gaierror) else error
            raise UnreachableError(
                f"no adb server answers at {address}: {reason}",
                hint="start it: adb start-server (or set `host` of this device, for a direct "
                "connection)",
            ) from None

    def _request(
        self, request: bytes, timeout: float = ANSWER_TIMEOUT
    ) -> tuple[SocketStream, Incoming]:
        stream = SocketStream(self._connect())
        incoming = Incoming(stream)
        try:
            _send(stream, incoming, request, timeout)
        except (EOFError, TimeoutError, ConnectionError):
            stream.close()
            raise self._silent() from None
        except BaseException:
            stream.close()
            raise
        return stream, incoming

    def _silent(self) -> UnreachableError:
        return UnreachableError(
            f"the adb server at {self.address} gives no answer",
            hint="is it an adb server that listens there? try: adb devices",
        )


def _send(
    stream: SocketStream, incoming: Incoming, request: bytes, timeout: float = ANSWER_TIMEOUT
) -> None:
    stream.send(b"%04x" % len(request) + request)
    word = incoming.exactly(4, timeout)
    if word == b"FAIL":
        with contextlib.suppress(EOFError):
            raise Refusal(incoming.exactly(_size(incoming.exactly(4)), timeout))
        raise Refusal(b"no reason given")
    if word != b"OKAY":
        raise ProtocolError(f"an adb server would not answer {word!r}")


def _size(digits: bytes) -> int:
    if not re.fullmatch(rb"[0-9a-fA-F]{4}", digits):
        raise ProtocolError(f"an adb server would not answer {digits!r}")
    return int(digits, 16)
