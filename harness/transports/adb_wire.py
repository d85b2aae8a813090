"""Packets of the adb protocol over adb-shell's transports (TCP and USB).

See ``harness.adb_protocol`` for what is in them.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from adb_shell.exceptions import TcpTimeoutException, UsbReadFailedError, UsbWriteFailedError
from adb_shell.transport.tcp_transport import TcpTransport

from harness import adb_protocol as wire
from harness.errors import MissingExtraError, ProtocolError, UnreachableError
from harness.transports.adb_stream import ANSWER_TIMEOUT

if TYPE_CHECKING:
    from adb_shell.transport.base_transport import BaseTransport

#: Data that costs less to be copied than to be sent by itself.
_SMALL = 16 * 1024

#: Seconds between two looks whether the link was closed here, where a read cannot be woken.
_POLL = 0.5

#: Seconds without data after which the other side is asked whether it lives, and how often.
_KEEPALIVE, _PROBES = 15, 3


class _TcpTransport(TcpTransport):  # type: ignore[misc]  # adb-shell is not typed
    """With what the package leaves out: small packets at once, and the death of a silent peer."""

    def connect(self, transport_timeout_s: float) -> None:
        super().connect(transport_timeout_s)
        for level, option, value in (
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE),
            (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE),
            (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES),
        ):
            self._connection.setsockopt(level, option, value)

    def wake(self) -> None:
        """Have a read that waits in another thread end."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.shutdown(socket.SHUT_RDWR)


class PacketLink:
    """Reads packets in one thread and writes them in any.

    Failures are ``OSError`` and ``EOFError``.
    """

    def __init__(self, transport: BaseTransport, *, whole: bool) -> None:
        self._transport = transport
        self._whole = whole  # head and data in one write
        self._sums = True
        self._write = threading.Lock()
        self._closed = False

    def without_sums(self) -> None:
        """The other side does not look at checksums."""
        self._sums = False

    def send(self, command: int, arg0: int, arg1: int, data: bytes | memoryview = b"") -> None:
        """Send one packet."""
        head = wire.header(command, arg0, arg1, data, checked=self._sums)
        # USB wants the head by itself; TCP does not mind, and small things go in one piece.
        whole = self._whole and len(data) <= _SMALL
        parts = [head + data] if whole else [head, data]
        with self._write:
            for part in parts:
                left = memoryview(part)
                while left:
                    try:
                        sent = self._transport.bulk_write(left, ANSWER_TIMEOUT)
                    except (TcpTimeoutException, UsbWriteFailedError) as error:
                        raise TimeoutError(str(error)) from None
                    except (TypeError, ValueError, AttributeError):
                        raise EOFError from None  # closed in another thread
                    left = left[sent:]

    def receive(self) -> tuple[int, int, int, bytes]:
        """The next packet; waits for ever for its beginning."""
        head = self._read(wire.HEADER.size, None)
        try:
            command, arg0, arg1, size, _ = wire.parse_header(head, wire.MAX_PAYLOAD)
        except wire.WireError:
            raise ProtocolError(
                f"the device sent what is no packet of adb: {bytes(head)!r}"
            ) from None
        return command, arg0, arg1, bytes(self._read(size, ANSWER_TIMEOUT))

    def _read(self, count: int, timeout: float | None) -> bytearray:
        found = bytearray()
        while len(found) < count:
            if self._closed:
                raise EOFError
            patience = timeout or (ANSWER_TIMEOUT if found else _POLL)
            try:
                part = self._transport.bulk_read(count - len(found), patience)
            except (TcpTimeoutException, UsbReadFailedError) as error:
                timed_out = "imeout" in type(getattr(error, "usb_error", error)).__name__
                if timed_out and timeout is None and not found:
                    continue
                raise TimeoutError(str(error)) from None
            except (TypeError, ValueError, AttributeError):
                raise EOFError from None  # closed in another thread
            if not part:
                raise EOFError
            found += part
        return found

    def stop(self) -> None:
        """Have the reading thread end; never raises."""
        self._closed = True
        if isinstance(self._transport, _TcpTransport):
            self._transport.wake()

    def close(self) -> None:
        """Let go, once nobody reads; never raises."""
        self._closed = True
        with contextlib.suppress(Exception):  # libusb's own errors have no common base
            self._transport.close()


def connect(host: str, port: int, timeout: float) -> PacketLink:
    """A link to ``host`` by TCP, or by USB to ``usb`` or ``usb:SERIAL``; raises ``OSError``."""
    if host == "usb" or host.startswith("usb:"):
        return PacketLink(_usb(host.removeprefix("usb").lstrip(":") or None), whole=False)
    transport = _TcpTransport(host, port)
    transport.connect(timeout)
    return PacketLink(transport, whole=True)


def _usb(serial: str | None) -> BaseTransport:
    try:
        from adb_shell.transport.usb_transport import UsbTransport
    except (ImportError, OSError) as error:
        raise MissingExtraError(
            f"adb over USB without a server needs libusb: {error}",
            hint="pip install 'edge-harness[usb]', or leave `host` out to use the adb server",
        ) from None
    try:
        transport: BaseTransport = UsbTransport.find_adb(serial=serial)
        transport.connect(ANSWER_TIMEOUT)
    except Exception as error:  # libusb's own errors have no common base
        raise UnreachableError(
            f"no USB device {serial or 'with adb'} can be opened: {error}",
            hint="plugged in, USB debugging on, udev rules installed? A running adb server keeps "
            "the device for itself: leave `host` out to go through it",
        ) from None
    return transport
