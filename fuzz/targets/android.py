"""The emulated Android's daemon: its connections, its streams, its files.

Bytes become packets with proper heads, as whoever connects would send them; the daemon's own code
answers them, in its event loop. What it asks for of files is in a folder that is the root of this
process, as the device's is to the real daemon.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Any

from fuzz.places import folder
from fuzz.target import Target
from harness import adb_protocol as wire
from harness.emulation.android.connection import Connection
from harness.emulation.android.daemon import Daemon
from harness.emulation.android.streams import Service, Stream

_COMMANDS = (
    wire.CNXN,
    wire.AUTH,
    wire.OPEN,
    wire.OKAY,
    wire.WRTE,
    wire.CLSE,
    wire.STLS,
    0xFFFFFFFF,
)

#: Bytes that may wait for a client that does not read.
_MOST_WAITING = 64 << 20


class _Wire(asyncio.Transport):
    """The client's end: takes everything, and asks for more when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = 0
        self.closing = False
        self._socket = socket.socket()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket if name == "socket" else default

    def write(self, data: Any) -> None:
        self.sent += len(data)
        assert self.sent < _MOST_WAITING, "more is sent than anybody asked for"

    def is_closing(self) -> bool:
        return self.closing

    def abort(self) -> None:
        self.closing = True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def done(self) -> None:
        self._socket.close()


class _Daemon(Daemon):
    """With one key that may connect; a reboot stays away, as there is nobody to be ended."""

    async def keys(self) -> Sequence[str]:
        return [_KEY]

    async def accepts(self, key: str) -> bool:
        return len(key) % 2 == 0

    def service(self, name: bytes, stream: Stream) -> Callable[[], Service] | None:
        return None if name.startswith(b"reboot") else super().service(name, stream)


_KEY = wire.write_key((1 << 2047) + 9, 65537).decode() + " me@here"


def _run(data: bytes) -> None:
    if data:
        asyncio.run(_connect(bool(data[0] & 1), data[1:]))


async def _connect(authenticate: bool, data: bytes) -> None:
    settings = {
        "version": wire.VERSION,
        "authenticate": authenticate,
        "max_payload": 1 << 16,
        "identity": [("ro.product.name", "x")],
        "features": True,
    }
    outside, other = socket.socketpair()
    daemon = _Daemon(settings, outside)
    connection, client = Connection(daemon), _Wire()
    try:
        connection.connection_made(client)
        for packet in _packets(data):
            view = memoryview(packet)
            while view and not client.closing:
                room = connection.get_buffer(-1)
                count = min(len(room), len(view))
                assert count > 0, "no room for the next bytes"
                room[:count] = view[:count]
                connection.buffer_updated(count)
                view = view[count:]
            await asyncio.sleep(0)
            assert len(connection._streams) <= 128
        await asyncio.sleep(0)
    finally:
        connection.connection_lost(None)
        assert not connection._streams and not daemon._connections
        client.done()
        outside.close()
        other.close()


def _packets(data: bytes) -> list[bytes]:
    found: list[bytes] = []
    while len(data) >= 6:
        command, arg0, arg1, flags, size = struct.unpack_from("<BBBBH", data)
        payload, data = data[6 : 6 + size], data[6 + size :]
        code = _COMMANDS[command % len(_COMMANDS)]
        if flags & 0x80:  # as it is
            found.append(payload)
            continue
        one, two = arg0, arg1
        if code == wire.CNXN:
            one, two = wire.VERSION + (arg0 - 8 if arg0 < 16 else 0), (arg1 + 1) << 12
        head = bytearray(wire.header(code, one, two, payload, checked=True))
        if flags & 0x40:
            struct.pack_into("<I", head, 12, size * (arg0 + 1))  # a length that lies
        found.append(bytes(head) + payload)
    return found


def _op(command: int, arg0: int, arg1: int, payload: bytes = b"") -> bytes:
    return struct.pack("<BBBBH", command, arg0, arg1, 0, len(payload)) + payload


def _sync(word: bytes, body: bytes, number: int | None = None) -> bytes:
    return wire.SYNC_HEAD.pack(word, len(body) if number is None else number) + body


def _seeds() -> Sequence[bytes]:
    hello = _op(0, 8, 15, b"host::features=shell_v2")
    sync = _op(2, 5, 0, b"sync:\0")
    take = _op(3, 5, 1)

    def wrote(body: bytes) -> bytes:
        return _op(4, 5, 1, body)

    send = _sync(b"SEND", b"data/x/y,33188") + _sync(b"DATA", b"hello") + _sync(b"DONE", b"", 5)
    link = _sync(b"SEND", b"data/l,40960") + _sync(b"DATA", b"y\0") + _sync(b"DONE", b"", 5)
    asks = [_sync(word, b"data/x/y") for word in (b"STAT", b"STA2", b"LST2", b"RECV")] + [
        _sync(word, b"data/x") for word in (b"LIST", b"LIS2")
    ]
    return [
        b"\0"
        + hello
        + sync
        + wrote(send)
        + take
        + wrote(link)
        + take
        + wrote(b"".join(asks))
        + take * 6
        + wrote(_sync(b"QUIT", b""))
        + _op(5, 5, 1),
        b"\0" + hello + sync + wrote(asks[3]) + take * 3,
        b"\0"
        + hello
        + _op(2, 7, 0, b"shell,v2,TERM=xterm,raw:id\0")
        + _op(2, 8, 0, b"exec:id\0")
        + _op(2, 9, 0, b"root:\0")
        + _op(2, 9, 0, b"jdwp:1\0")
        + _op(3, 9, 3),
        b"\1"
        + hello
        + _op(1, 2, 0, b"s" * 256)
        + _op(1, 2, 0, b"s" * 256)
        + _op(1, 3, 0, _KEY.encode() + b"\0")
        + _op(1, 3, 0, b"QUJD x\0")
        + sync,
    ]


os.chdir(folder())  # for the seeds, whose paths are relative

TARGET = Target(
    _run,
    _seeds,
    allowed=(),
    jailed=True,
    max_bytes=1 << 13,
    tokens=(
        b"sync:",
        b"shell:",
        b"exec:",
        b"shell,v2,raw:",
        b"SEND",
        b"RECV",
        b"LIST",
        b"LIS2",
        b"STAT",
        b"STA2",
        b"LST2",
        b"DATA",
        b"DONE",
        b"QUIT",
        b",33188",
        b",40960",
        b",0100644",
        b",-1",
        b"\xff\xff\xff\xff",
        b"data/x",
        b"..",
        b"/",
    ),
)
