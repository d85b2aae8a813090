"""Cutting a stream of bytes into lines, with bounds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from device_agents.python.wire import MAX_LINE_BYTES
from harness.errors import AgentTimeoutError, ProtocolError

#: Bytes that a login shell may print where something else is waited for.
MOST_NOISE = 1 << 16

#: Bytes of stderr that are kept.
TAIL_BYTES = 8192


class LineReader:
    """Lines out of ``receive(timeout)``, which gives bytes, ``b""`` at the end, or ``None``
    when nothing came in time."""

    def __init__(self, receive: Callable[[float], bytes | None]) -> None:
        self._receive = receive
        self._buffer = bytearray()
        self._searched = 0

    def read_line(self, timeout: float) -> bytes:
        """See ``Process.read_line``."""
        deadline = time.monotonic() + timeout
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._buffer[: end + 1])
                del self._buffer[: end + 1]
                self._searched = 0
                return line
            self._searched = len(self._buffer)
            if self._searched > MAX_LINE_BYTES:
                raise ProtocolError(
                    f"the agent sent a line of more than {MAX_LINE_BYTES:,} bytes without an end"
                )
            left = deadline - time.monotonic()
            data = self._receive(left) if left > 0 else None
            if data is None:
                raise AgentTimeoutError(f"the agent said nothing for {timeout:g} s")
            if not data:
                line, self._buffer, self._searched = bytes(self._buffer), bytearray(), 0
                return line
            self._buffer += data


class Tail:
    """Keeps the last bytes of a stream that a thread drains."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._bytes = b""
        self._thread = threading.Thread(target=self._drain, name="drain-stderr", daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        try:
            while data := self._read():
                self._bytes = (self._bytes + data)[-TAIL_BYTES:]
        except (OSError, ValueError):
            pass  # the stream was closed under the reader: its end all the same

    def text(self) -> str:
        """What is kept, once the stream has had a moment to end."""
        self._thread.join(0.5)
        return self._bytes.decode("utf-8", "replace")


def printable(text: str) -> str:
    """What a device or a program said, short and harmless."""
    short = " ".join(text.split())[-300:]
    return "".join(c if c.isprintable() else "\ufffd" for c in short)
