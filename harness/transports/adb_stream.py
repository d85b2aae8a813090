"""Streams of bytes to services of an Android device, whichever link carries them.

Below ``AdbTransport`` failures are plain exceptions: ``TimeoutError`` (no answer in time),
``EOFError`` and other ``OSError`` (the link was cut), ``Refusal`` (a service said no). They
become the harness's errors in one place, ``adb.py``.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from typing import Protocol

from harness.errors import TransportError

#: Seconds after which somebody who accepted a request and never answers is given up.
ANSWER_TIMEOUT = 30.0

#: Text of the other side that is shown, at most.
_MAX_TEXT = 400


class Refusal(Exception):  # noqa: N818  an answer, no fault
    """A service's own word for why it will not, made printable."""

    def __init__(self, text: bytes) -> None:
        super().__init__(printable(text))


def printable(text: bytes) -> str:
    """Text of the other side on one line, bounded, without control characters."""
    words = " ".join(text.decode("utf-8", "replace").split())
    return "".join(c if c.isprintable() else "\ufffd" for c in words[:_MAX_TEXT])


class Stream(Protocol):
    """A two-way stream to one service. One thread may send while another receives."""

    #: Bytes that are best sent at once.
    packet: int

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of it; ``TimeoutError`` when nothing moves for ``ANSWER_TIMEOUT``."""

    def receive(self, timeout: float) -> bytes | None:
        """The next bytes; ``b""`` at the end, ``None`` when nothing came in time."""

    def close(self) -> None:
        """End it in both directions; never raises."""


def check_service(name: str, service: bytes, longest: int) -> None:
    """Raise ``TransportError`` for a service that does not fit into one packet.

    It must not reach an adb server: that dies of it, and with it the links to all its devices.
    """
    if len(service) > longest:
        raise TransportError(
            f"{name}: a request of {len(service):,} bytes is longer than the device takes "
            f"({longest:,})"
        )


class Link(Protocol):
    """A way to one device."""

    @property
    def longest_service(self) -> int:
        """Bytes that the name of a service may have; known once it is open."""

    def open(self) -> frozenset[str]:
        """Connect; returns what the device's adbd can do. Raises ``TransportError``."""

    def stream(self, service: bytes) -> Stream:
        """Start a service of the device."""

    def close(self) -> None:
        """Let go; never raises."""

    def condition(self) -> str:
        """What is known of the device after a cut, for messages; may be empty, never raises."""


class SocketStream:
    """A stream that has a socket of its own: behind the adb server every one has."""

    packet = 1 << 20

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._unread = b""
        # The kernel keeps the time of a write: it wakes us up once, not for every piece.
        connection.setblocking(True)
        connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(ANSWER_TIMEOUT), 0)
        )
        if connection.family != socket.AF_UNIX:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data: bytes | bytearray | memoryview) -> None:
        """See ``Stream``."""
        left = memoryview(data)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                raise TimeoutError from None

    def receive(self, timeout: float) -> bytes | None:
        """See ``Stream``."""
        if self._unread:
            data, self._unread = self._unread, b""
            return data
        if self._socket.fileno() < 0:
            raise EOFError
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(max(0.0, timeout) * 1000):
            return None
        try:
            return self._socket.recv(self.packet, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None

    def unread(self, data: bytes) -> None:
        """Give back what was received too early."""
        self._unread = data + self._unread

    def close(self) -> None:
        """See ``Stream``."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Incoming:
    """Reads so and so many bytes off a stream, none of it quadratic."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._chunk = memoryview(b"")

    def some(self, limit: int, timeout: float = ANSWER_TIMEOUT) -> memoryview:
        """Between 1 and ``limit`` bytes; raises ``EOFError``, ``TimeoutError``."""
        if not self._chunk:
            data = self._stream.receive(timeout)
            if data is None:
                raise TimeoutError
            if not data:
                raise EOFError
            self._chunk = memoryview(data)
        part, self._chunk = self._chunk[:limit], self._chunk[limit:]
        return part

    def exactly(self, count: int, timeout: float = ANSWER_TIMEOUT) -> bytes:
        """``count`` bytes; raises ``EOFError``, ``TimeoutError``."""
        deadline = time.monotonic() + timeout
        found = bytearray()
        while len(found) < count:
            try:
                found += self.some(count - len(found), max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                self._chunk = memoryview(bytes(found))  # they are the next caller's
                raise
        return bytes(found)

    def rest(self) -> bytes:
        """What was received and not asked for yet."""
        left, self._chunk = bytes(self._chunk), memoryview(b"")
        return left

    def waiting(self) -> bool:
        """Whether something has arrived; raises ``EOFError`` at the end."""
        with contextlib.suppress(TimeoutError):
            self._chunk = self._chunk or self.some(1 << 30, 0)
        return bool(self._chunk)
