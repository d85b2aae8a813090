"""What an adb server and a device's adbd send, under our own links to them.

The first byte says to which of them the rest is given. The other end of the socket is closed
behind it, so that nothing waits.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adb_shell.transport.base_transport import BaseTransport

from fuzz.places import folder, written
from fuzz.target import Target
from harness import adb_protocol as wire
from harness.errors import HarnessError
from harness.transports import adb_direct
from harness.transports.adb_command import AdbProcess, PlainCommand, ShellCommand
from harness.transports.adb_devices import ServerLink, listed, tcp_address
from harness.transports.adb_keys import AdbKey
from harness.transports.adb_server import AdbServer, ServerAddress
from harness.transports.adb_stream import Refusal, SocketStream
from harness.transports.adb_sync import Sync, TooLargeError
from harness.transports.adb_wire import PacketLink

_LIMIT = 1 << 20


#: Ends that nobody reads, but which must not be closed while we write.
_kept: list[socket.socket] = []


def _peer(data: bytes) -> socket.socket:
    ours, theirs = socket.socketpair()
    _kept.append(theirs)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 18)
    theirs.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        theirs.sendall(data)
    theirs.shutdown(socket.SHUT_WR)
    return ours


class _Server(AdbServer):
    """Each of its connections gets a piece of the data."""

    def __init__(self, data: bytes) -> None:
        super().__init__(ServerAddress())
        self._pieces = iter(data.split(b"\0--\0"))

    def _connect(self) -> socket.socket:
        return _peer(next(self._pieces, b""))


def _devices(data: bytes) -> None:
    found = _Server(data).devices()
    assert "\n" not in listed(found)
    for device in found:
        tcp_address(device.serial)


def _server_link(data: bytes) -> None:
    link = ServerLink("d", "serial", ServerAddress())
    link._server = _Server(data)
    assert link.condition().isprintable()
    link.find()


def _shell(data: bytes) -> None:
    process = AdbProcess(ShellCommand(SocketStream(_peer(data))), "d")
    _all(process)


def _plain(data: bytes) -> None:
    process = AdbProcess(PlainCommand(SocketStream(_peer(data)), b"token"), "d")
    _all(process)


def _all(process: AdbProcess) -> None:
    try:
        while process.read_line(5):
            pass
    finally:
        process.stderr_tail()
        code = process.wait(0)
        assert code is None or 0 <= code <= 255
        process.kill()


def _pull(data: bytes) -> None:
    got = folder() / "got"
    size = Sync(SocketStream(_peer(data))).pull("/x", got, _LIMIT)
    assert size == got.stat().st_size <= _LIMIT


def _push(data: bytes) -> None:
    Sync(SocketStream(_peer(data))).push(written("sent", b"x" * 100), "/x", lambda _: None)


class _Bytes(BaseTransport):
    """Packets that were written down beforehand."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)
        self.sent = 0

    def connect(self, transport_timeout_s: float | None) -> None:
        pass

    def bulk_read(self, numbytes: int, transport_timeout_s: float | None) -> bytes:
        part, self._data = self._data[:numbytes], self._data[numbytes:]
        return bytes(part)

    def bulk_write(self, data: memoryview, transport_timeout_s: float | None) -> int:
        self.sent += len(data)
        return len(data)

    def close(self) -> None:
        pass


class _Key(AdbKey):
    """Signs nothing: making real signatures would be most of the time."""

    path = Path("key")

    def sign(self, token: bytes) -> bytes:
        return token * 12

    def public(self) -> bytes:
        return b"key"


def _direct(data: bytes) -> None:
    packets = PacketLink(_Bytes(_packets(data)), whole=True)
    link = adb_direct.DirectLink("d", "host", 5555, None)
    features = link._greet(packets, [_Key.__new__(_Key)])
    assert all(len(feature) <= 400 for feature in features)
    link._link = packets
    streams = [adb_direct._DirectStream(link, number, 4096) for number in (1, 2)]
    link._streams = {stream.number: stream for stream in streams}
    link._read(packets)  # to the end of what there is
    for stream in streams:
        assert stream.ended
        kept = sum(map(len, stream.waiting))
        assert kept <= adb_direct._MAX_WAITING + wire.MAX_PAYLOAD
        with contextlib.suppress(EOFError):
            while stream.receive(0):
                pass


_COMMANDS = (wire.CNXN, wire.AUTH, wire.OKAY, wire.WRTE, wire.CLSE, wire.OPEN, wire.STLS, 0)


def _packets(data: bytes) -> bytes:
    """Packets with proper heads out of any bytes; one that ends in raw bytes has none."""
    found = bytearray()
    while len(data) >= 8:
        command, arg0, arg1, size, flags = struct.unpack_from("<BBBHB", data)
        payload, data = data[8 : 8 + size], data[8 + size :]
        if flags & 0x80:
            return bytes(found + payload)
        first = wire.VERSION if command == 0 else arg0 & 3
        second = wire.MAX_PAYLOAD if command == 0 else arg1 & 3
        found += (
            wire.header(_COMMANDS[command % len(_COMMANDS)], first, second, payload, checked=False)
            + payload
        )
    return bytes(found + data)


_READERS: tuple[Callable[[bytes], Any], ...] = (
    _devices,
    _server_link,
    _shell,
    _plain,
    _pull,
    _push,
    _direct,
)


def _run(data: bytes) -> None:
    if not data:
        return
    try:
        # Failures of a link, which ``adb.py`` turns into the harness's own.
        with contextlib.suppress(HarnessError, Refusal, TooLargeError, EOFError, OSError):
            _READERS[data[0] % len(_READERS)](data[1:])
    finally:
        while _kept:
            _kept.pop().close()


def _op(command: int, arg0: int, arg1: int, payload: bytes = b"") -> bytes:
    return struct.pack("<BBBHBxx", command, arg0, arg1, len(payload), 0) + payload


def _seeds() -> Sequence[bytes]:
    def text(body: bytes) -> bytes:
        return b"OKAY%04x" % len(body) + body

    packet = wire.SHELL_PACKET.pack
    cut = b"\0--\0"
    long = b"serial\tdevice product:p model:Pixel_3 usb:1-1\n"
    return [
        b"\0" + text(long) + cut + text(b"serial\tdevice\n127.0.0.1:5555\toffline\n"),
        b"\1" + text(b"x") + cut + b"FAIL0003abc",
        b"\1" + text(b"") + cut + text(b"serial\tunauthorized") + cut + text(b"") + cut + text(b""),
        b"\2"
        + packet(1, 6)
        + b"hello\n"
        + packet(2, 3)
        + b"bad"
        + packet(1, 2)
        + b"x\n"
        + packet(3, 1)
        + b"\x05",
        b"\3hello\nworld\n\x1etoken:12\n",
        b"\4" + b"DATA" + struct.pack("<I", 3) + b"abcDONE" + bytes(4),
        b"\4FAIL" + struct.pack("<I", 4) + b"nope",
        b"\5OKAY" + bytes(4),
        b"\6"
        + _op(1, 1, 0, b"t" * 20)
        + _op(1, 1, 0, b"t" * 20)
        + _op(0, 0, 0, b"device::ro.product.name=x;features=shell_v2,stat_v2")
        + _op(2, 1, 1)
        + _op(3, 1, 1, b"data")
        + _op(3, 1, 1, b"more")
        + _op(4, 1, 1)
        + _op(5, 1, 1, b"x:"),
    ]


TARGET = Target(
    _run,
    _seeds,
    allowed=(),
    max_bytes=1 << 14,
    tokens=(
        b"OKAY",
        b"FAIL",
        b"DATA",
        b"DONE",
        b"0000",
        b"ffff",
        b"\xff\xff\xff\xff",
        b"\x1etoken:",
        b"\0--\0",
        b"features=",
        b"unauthorized",
        b"no permissions",
        b"\tdevice",
    ),
)
