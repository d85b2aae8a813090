"""One stream of a connection: a service of the device and the flow control before it.

Source: AOSP packages/modules/adb ``protocol.txt``. One WRTE is on its way at a time; OKAY asks
for the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from harness import adb_protocol as wire


class Service(Protocol):
    """What a stream leads to."""

    def received(self, data: memoryview) -> bool:
        """Take data, valid only during the call; ``False`` puts the OKAY off."""

    def next_output(self, limit: int) -> bytes | memoryview | None:
        """The next data of at most ``limit`` bytes, ``None`` if there is none now."""

    def closed(self) -> None:
        """The client has closed the stream, or is gone."""


Send = Callable[[int, int, int, "bytes | memoryview"], None]


class Stream:
    """Both directions of one stream."""

    def __init__(
        self, local: int, remote: int, limit: int, send: Send, forget: Callable[[int], None]
    ) -> None:
        self.local, self.remote = local, remote
        self._limit = limit
        self._send, self._forget = send, forget
        self._service: Service | None = None
        self._may_send = True  # an OPEN says that its sender is ready
        self._owes_okay = False
        self._waking = False
        self._ended = False
        self.open = True

    def start(self, service: Service) -> None:
        """Accept the OPEN."""
        self._service = service
        self._send(wire.OKAY, self.local, self.remote, b"")
        self.wake()

    def received(self, data: memoryview) -> None:
        """A WRTE has come; raises ``WireError`` if it was not its turn."""
        if self._owes_okay:
            raise wire.WireError("a WRTE before the OKAY of the last one")
        self._owes_okay = True
        if self._service is not None and self._service.received(data):
            self.consumed()

    def consumed(self) -> None:
        """Ask for more data."""
        if self.open and self._owes_okay:
            self._owes_okay = False
            self._send(wire.OKAY, self.local, self.remote, b"")

    def okay(self) -> None:
        """The client has taken what was sent."""
        self._may_send = True
        self.wake()

    def wake(self) -> None:
        """There may be something to send."""
        if self._waking or not (self.open and self._may_send and self._service is not None):
            return
        self._waking = True
        try:
            data = self._service.next_output(self._limit)
        finally:
            self._waking = False
        if data is not None:
            self._may_send = False
            self._send(wire.WRTE, self.local, self.remote, data)
        elif self._ended:
            self.close()

    def end(self) -> None:
        """Close when everything has been sent and taken."""
        self._ended = True
        self.wake()

    def close(self) -> None:
        """Close now."""
        if self.open:
            self._send(wire.CLSE, self.local, self.remote, b"")
            self.gone()

    def gone(self) -> None:
        """The other end is closed: end the service."""
        if self.open:
            self.open = False
            self._forget(self.local)
            if self._service is not None:
                self._service.closed()


class Text:
    """A service that says one thing."""

    def __init__(self, stream: Stream, text: str) -> None:
        self._data: bytes | None = text.encode() or None
        stream.end()

    def received(self, data: memoryview) -> bool:
        """See ``Service``."""
        return True

    def next_output(self, limit: int) -> bytes | None:
        """See ``Service``."""
        data, self._data = self._data, None
        return data

    def closed(self) -> None:
        """See ``Service``."""
