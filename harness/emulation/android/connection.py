"""One client of the emulated Android: the handshake, then streams."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from harness import adb_protocol as wire
from harness.emulation.android import auth
from harness.emulation.android.streams import Service, Stream

#: Streams that one client may have open.
MAX_STREAMS = 128

#: Public keys that one client may offer.
MAX_OFFERS = 4

#: Payloads below this size go with their header in one piece.
_JOINED = 16 * 1024


class Host(Protocol):
    """What a connection needs of the daemon."""

    version: int
    authenticate: bool
    max_payload: int
    banner: bytes

    async def keys(self) -> Sequence[str]:
        """The public keys that may connect."""

    async def accepts(self, key: str) -> bool:
        """Whether the user accepts a new key."""

    def service(self, name: bytes, stream: Stream) -> Callable[[], Service] | None:
        """What makes the service of this name; ``None`` if there is none."""

    def joined(self, connection: Connection) -> None:
        """A client has come."""

    def left(self, connection: Connection) -> None:
        """A client has gone."""


class Connection(asyncio.BufferedProtocol):
    """The device's end of one TCP connection."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._transport: asyncio.Transport | None = None
        self._space = memoryview(bytearray(wire.HEADER.size + host.max_payload))
        self._filled, self._wanted = 0, wire.HEADER.size
        self._header: wire.Header | None = None
        self._version = wire.VERSION_WITH_CHECKSUMS  # until both have said theirs
        self._checked = True
        self._limit = wire.MAX_FIRST_PAYLOAD
        self._online = False
        self._token = b""
        self._keys: Sequence[str] = ()
        self._offers = 0
        self._task: asyncio.Task[None] | None = None
        self._streams: dict[int, Stream] = {}
        self._next = 0

    # -- bytes ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio``."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._host.joined(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See ``asyncio``."""
        return self._space[self._filled : self._wanted]

    def buffer_updated(self, nbytes: int) -> None:
        """See ``asyncio``."""
        self._filled += nbytes
        if self._filled < self._wanted:
            return
        try:
            self._complete()
        except wire.WireError:
            self.abort()

    def _complete(self) -> None:
        size = wire.HEADER.size
        if self._header is None:
            self._header = wire.parse_header(self._space[:size], self._limit)
            self._wanted = size + self._header.length
            if self._header.length:
                return
        header, payload = self._header, self._space[size : self._wanted]
        self._header, self._filled, self._wanted = None, 0, size
        if self._checked and wire.checksum(payload) != header.checksum:
            raise wire.WireError("bad checksum")
        self._message(header, payload)

    def _send(self, command: int, arg0: int, arg1: int, data: bytes | memoryview) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        head = wire.header(command, arg0, arg1, data, checked=self._checked)
        if len(data) < _JOINED:
            self._transport.write(head + data)
        else:
            self._transport.write(head)
            self._transport.write(data)

    def pause_writing(self) -> None:
        """See ``asyncio``: who does not read is not read from."""
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """See ``asyncio``."""
        if self._transport is not None:
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio``."""
        self._reset()
        self._host.left(self)

    @property
    def online(self) -> bool:
        """Whether it has been let in."""
        return self._online

    def abort(self) -> None:
        """Cut the connection now."""
        if self._transport is not None:
            self._transport.abort()

    # -- messages -------------------------------------------------------------------------

    def _message(self, header: wire.Header, payload: memoryview) -> None:
        command = header.command
        if command == wire.CNXN:
            self._connect(header)
        elif command == wire.AUTH:
            self._authenticate(header.arg0, bytes(payload))
        elif command == wire.OPEN:
            if self._online:
                self._open(header.arg0, bytes(payload))
        elif command in (wire.OKAY, wire.WRTE, wire.CLSE):
            stream = self._streams.get(header.arg1) if self._online else None
            if stream is None or (stream.remote != header.arg0 and header.arg0):
                return
            if command == wire.WRTE:
                stream.received(payload)
            elif command == wire.OKAY:
                stream.okay()
            else:
                stream.gone()
        else:
            raise wire.WireError(f"unknown command {command:08x}")

    def _connect(self, header: wire.Header) -> None:
        self._reset()
        if header.arg0 < wire.VERSION_WITH_CHECKSUMS or header.arg1 < wire.MAX_FIRST_PAYLOAD:
            raise wire.WireError("a version or size from before this protocol")
        self._version = min(header.arg0, self._host.version)
        self._checked = self._version < wire.VERSION
        self._limit = self._host.max_payload
        self._write_limit = min(header.arg1, self._limit)
        if self._host.authenticate:
            self._background(self._challenge())
        else:
            self._admit()

    def _authenticate(self, kind: int, data: bytes) -> None:
        if self._online or not self._token:
            return
        if kind == wire.SIGNATURE:
            token, self._token = self._token, b""
            if any(auth.signed_by(key, token, data) for key in self._keys):
                self._admit()
            else:
                self._background(self._challenge())
        elif kind == wire.RSA_PUBLIC_KEY and self._offers < MAX_OFFERS:
            self._offers += 1
            with contextlib.suppress(ValueError):
                text = data.decode("ascii").rstrip("\0")
                auth.public_key(text)
                self._background(self._offered(text))

    async def _challenge(self) -> None:
        self._keys = await self._host.keys()
        self._token = auth.new_token()
        self._send(wire.AUTH, wire.TOKEN, 0, self._token)

    async def _offered(self, key: str) -> None:
        if await self._host.accepts(key):
            self._admit()

    def _admit(self) -> None:
        self._token = b""
        self._online = True
        # The client learns the version from this one, so it is still checked.
        self._checked, checked = True, self._checked
        self._send(wire.CNXN, self._host.version, self._host.max_payload, self._host.banner)
        self._checked = checked

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.ensure_future(work)

    def _open(self, remote: int, payload: bytes) -> None:
        if not remote:
            raise wire.WireError("an OPEN without a stream")
        name = payload.removesuffix(b"\0")
        if len(self._streams) >= MAX_STREAMS:
            self._send(wire.CLSE, 0, remote, b"")
            return
        self._next = self._next % 0xFFFFFFFF + 1
        while self._next in self._streams:
            self._next = self._next % 0xFFFFFFFF + 1
        stream = Stream(self._next, remote, self._write_limit, self._send, self._forget)
        make = self._host.service(name, stream)
        try:
            service = make() if make is not None else None
        except OSError:
            service = None
        if service is None:
            self._send(wire.CLSE, 0, remote, b"")
            return
        self._streams[stream.local] = stream
        stream.start(service)

    def _forget(self, local: int) -> None:
        self._streams.pop(local, None)

    def _reset(self) -> None:
        self._online = False
        self._token = b""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        for stream in list(self._streams.values()):
            stream.gone()
