"""A direct connection to an Android device's adbd, without a server. See ``Link``.

One thread takes every packet in and gives it to its stream. Each side may have one packet of a
stream under way: the next follows when ``OKAY`` came (``protocol.txt`` of Android's adb).
"""

from __future__ import annotations

import contextlib
import itertools
import re
import socket
import threading
import time
from collections import deque

from harness import adb_protocol as wire
from harness.errors import AuthenticationError, LinkLostError, ProtocolError, UnreachableError
from harness.transports import adb_wire
from harness.transports.adb_keys import AdbKey, load_keys
from harness.transports.adb_stream import (
    ANSWER_TIMEOUT,
    Refusal,
    Stream,
    check_service,
    printable,
)

#: Seconds to reach a device, and to wait for one that was there before: many boot so long.
CONNECT_TIMEOUT, RETURN_TIMEOUT = 10.0, 60.0

#: Seconds that somebody gets to accept the key on the device's screen.
ACCEPT_TIMEOUT = 15.0

#: Bytes of a stream that nobody has taken yet; an honest device never has more than one packet.
_MAX_WAITING = 4 * wire.MAX_PAYLOAD


class _DirectStream:
    """A stream of the link; see ``Stream``."""

    def __init__(self, link: DirectLink, number: int, packet: int) -> None:
        self._link = link
        self.number = number
        self.packet = packet
        self.remote = 0
        self.waiting: deque[bytes] = deque()
        self.ended = False
        self.may_send = False
        self.changed = threading.Condition()

    def _await(self, timeout: float, done: str) -> bool:
        """Wait for an attribute to become true, or for the end."""
        self.changed.wait_for(lambda: getattr(self, done) or self.ended, timeout)
        return bool(getattr(self, done))

    def opened(self, service: bytes) -> None:
        with self.changed:
            if not self._await(ANSWER_TIMEOUT, "may_send"):
                self._link.check()
                if self.ended:
                    raise Refusal(b"the device refuses " + service[:40])
                raise TimeoutError

    def send(self, data: bytes | bytearray | memoryview) -> None:
        left = memoryview(data)
        while left:
            with self.changed:
                if not self._await(ANSWER_TIMEOUT, "may_send") or self.ended:
                    self._link.check()
                    raise EOFError if self.ended else TimeoutError
                self.may_send = False
            self._link.send(wire.WRTE, self.number, self.remote, left[: self.packet])
            left = left[self.packet :]

    def receive(self, timeout: float) -> bytes | None:
        with self.changed:
            if not self._await(timeout, "waiting"):
                self._link.check()
                return b"" if self.ended else None
            data = self.waiting.popleft()
        with contextlib.suppress(OSError, EOFError, ProtocolError):  # the reader will say so
            self._link.send(wire.OKAY, self.number, self.remote)
        return data

    def close(self) -> None:
        self._link.forget(self)


class DirectLink:
    """adbd at the other end of a TCP or USB connection."""

    def __init__(self, name: str, host: str, port: int, key: str | None) -> None:
        self._name, self._host, self._port, self._key = name, host, port, key
        self._link: adb_wire.PacketLink | None = None
        self._reader: threading.Thread | None = None
        self._streams: dict[int, _DirectStream] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._broken: BaseException | None = None
        self._packet = wire.MAX_FIRST_PAYLOAD
        self._was_there = False

    @property
    def _where(self) -> str:
        return self._host if self._host.startswith("usb") else f"{self._host}:{self._port}"

    def open(self) -> frozenset[str]:
        """See ``Link``."""
        keys = load_keys(self._key)
        deadline = time.monotonic() + (RETURN_TIMEOUT if self._was_there else 0)
        while True:
            try:
                self._link = adb_wire.connect(self._host, self._port, CONNECT_TIMEOUT)
                features = self._greet(self._link, keys)
                break
            except (OSError, EOFError) as error:
                self.close()
                if time.monotonic() > deadline:
                    raise self._unreachable(error) from None
                time.sleep(0.5)
            except ProtocolError as error:
                self.close()
                raise UnreachableError(
                    f"{self._name}: {self._where} is no adbd: {error.message}",
                    hint="check `host` and `port` of this device",
                ) from None
            except BaseException:
                self.close()
                raise
        self._was_there, self._broken = True, None
        self._reader = threading.Thread(
            target=self._read, args=(self._link,), name="read-adb", daemon=True
        )
        self._reader.start()
        return features

    def _unreachable(self, error: BaseException) -> UnreachableError:
        reason = str(error) or "it accepts the connection and says nothing"
        if isinstance(error, socket.gaierror):
            reason = "no such host"
        return UnreachableError(
            f"{self._name}: no adb answer from {self._where}: {reason}",
            hint="is it in this network, with `adb tcpip 5555` done since it booted?",
        )

    def _greet(self, link: adb_wire.PacketLink, keys: list[AdbKey]) -> frozenset[str]:
        """Say hello, prove who we are; returns the features of the device's banner."""
        link.send(wire.CNXN, wire.VERSION, wire.MAX_PAYLOAD, b"host::features=shell_v2")
        offered = deque(keys)
        told = False
        # Whoever does not know the key says nothing at all until somebody has accepted it.
        timer = threading.Timer(CONNECT_TIMEOUT, link.stop)
        timer.daemon = True
        timer.start()
        try:
            while True:
                try:
                    command, arg0, arg1, data = link.receive()
                except (OSError, EOFError):
                    if told:
                        raise self._unauthorized(keys) from None
                    raise
                if command == wire.CNXN:
                    return self._features(link, arg0, arg1, data)
                if command == wire.STLS:
                    raise UnreachableError(
                        f"{self._name}: {self._where} is the encrypted port of wireless debugging",
                        hint="connect it with `adb pair` and `adb connect` and use its serial, or "
                        "run `adb tcpip 5555` and use port 5555",
                    )
                if command != wire.AUTH or arg0 != wire.TOKEN or len(data) != wire.TOKEN_BYTES:
                    raise ProtocolError(f"{self._name}: {self._where} does not greet as adbd does")
                if offered:
                    link.send(wire.AUTH, wire.SIGNATURE, 0, offered.popleft().sign(data))
                elif not told:
                    told = True
                    link.send(wire.AUTH, wire.RSA_PUBLIC_KEY, 0, keys[0].public() + b"\0")
                    timer.cancel()
                    timer = threading.Timer(ACCEPT_TIMEOUT, link.stop)
                    timer.daemon = True
                    timer.start()
        finally:
            timer.cancel()

    def _unauthorized(self, keys: list[AdbKey]) -> AuthenticationError:
        return AuthenticationError(
            f"{self._name}: the device at {self._where} does not know this machine's adb key "
            f"({', '.join(str(key.path) for key in keys)})",
            hint="unlock the phone and accept the key that it shows (always allow), then try again",
        )

    def _features(
        self, link: adb_wire.PacketLink, version: int, packet: int, banner: bytes
    ) -> frozenset[str]:
        if version >= wire.VERSION:
            link.without_sums()
        self._packet = max(wire.MAX_FIRST_PAYLOAD, min(packet, wire.MAX_PAYLOAD))
        found = re.search(rb"(?:^|[:;])features=([^;\0]*)", banner)
        return frozenset(printable(found[1]).split(",")) if found else frozenset()

    def _read(self, link: adb_wire.PacketLink) -> None:
        try:
            while True:
                self._take(link, *link.receive())
        except (OSError, EOFError, ProtocolError) as error:
            self._broken = error
        with self._lock:
            streams = list(self._streams.values())
        for stream in streams:
            with stream.changed:
                stream.ended = True
                stream.changed.notify_all()

    def _take(
        self, link: adb_wire.PacketLink, command: int, arg0: int, arg1: int, data: bytes
    ) -> None:
        """One packet: ``arg0`` is the device's number of the stream, ``arg1`` ours."""
        if command == wire.OPEN:  # nobody here offers services to the device
            link.send(wire.CLSE, 0, arg0)
            return
        if command == wire.CNXN:
            raise EOFError("the device's adbd has started anew")
        with self._lock:
            stream = self._streams.get(arg1)
        if stream is None:
            return
        with stream.changed:
            if command == wire.OKAY and stream.remote in (0, arg0):
                stream.remote, stream.may_send = arg0, True
            elif command == wire.WRTE and stream.remote == arg0:
                if data:
                    stream.waiting.append(data)
                if sum(map(len, stream.waiting)) > _MAX_WAITING:
                    raise ProtocolError("the device sends more than was asked for")
            elif command == wire.CLSE and stream.remote in (0, arg0):
                stream.ended = True
            stream.changed.notify_all()

    def check(self) -> None:
        """Raise what broke the link, if something has."""
        if isinstance(self._broken, ProtocolError):
            raise ProtocolError(self._broken.message)
        if self._broken is not None or self._link is None:
            raise EOFError(str(self._broken or ""))

    def send(self, command: int, arg0: int, arg1: int, data: bytes | memoryview = b"") -> None:
        """Send a packet."""
        self.check()
        assert self._link is not None
        self._link.send(command, arg0, arg1, data)

    @property
    def longest_service(self) -> int:
        """See ``Link``: one packet, less the null character at its end."""
        return self._packet - 1

    def stream(self, service: bytes) -> Stream:
        """See ``Link``."""
        self.check()
        check_service(self._name, service, self.longest_service)
        stream = _DirectStream(self, next(self._numbers), self._packet)
        with self._lock:
            self._streams[stream.number] = stream
        try:
            self.send(wire.OPEN, stream.number, 0, service + b"\0")
            stream.opened(service)
        except BaseException:
            stream.close()
            raise
        return stream

    def forget(self, stream: _DirectStream) -> None:
        """Close a stream; never raises."""
        with self._lock:
            known = self._streams.pop(stream.number, None)
        if known is not None and stream.remote:
            with contextlib.suppress(OSError, EOFError, ProtocolError):
                self.send(wire.CLSE, stream.number, stream.remote)
        with stream.changed:
            stream.ended = True
            stream.changed.notify_all()

    def close(self) -> None:
        """See ``Link``."""
        if self._link is not None:
            self._link.stop()
            if self._reader is not None:
                self._reader.join(5)
            self._link.close()
        self._link = self._reader = None

    def condition(self) -> str:
        """See ``Link``."""
        return printable(str(self._broken or "").encode())

    def refused(self, refusal: Refusal) -> LinkLostError:
        """What a device will not do."""
        return LinkLostError(f"{self._name}: {refusal}")
