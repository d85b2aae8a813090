"""Files over the ``sync:`` service.

Requests and answers are four letters and a little-endian 32-bit number, as in
``file_sync_protocol.h`` and ``SYNC.TXT`` of Android's adb: ``SEND`` path,mode then ``DATA``
chunks and ``DONE`` time, answered by ``OKAY`` or ``FAIL`` text; ``RECV`` path, answered by ``DATA``
chunks and ``DONE``, or ``FAIL``.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.adb_protocol import SYNC_HEAD, SYNC_MAX_DATA, SYNC_MAX_PATH
from harness.errors import ProtocolError, PullError, PushError
from harness.transports.adb_stream import ANSWER_TIMEOUT, Incoming, Refusal, Stream

#: The longest refusal.
_MAX_FAIL = 1 << 16

#: Bytes in a second of which every link is capable: who moves fewer for ``ANSWER_TIMEOUT`` is
#: given up, however often a byte comes.
_SLOWEST = 4096

#: A plain file that its owner alone may read, write and run.
_MODE = 0o100700


def _path(remote: str) -> bytes:
    path = remote.encode("utf-8", "surrogateescape")
    if len(path) > SYNC_MAX_PATH or b"\0" in path:
        raise Refusal(b"the path is too long, or has a null character")
    return path


@contextlib.contextmanager
def _own(error: type[PullError | PushError], doing: str, local: Path) -> Iterator[None]:
    """Failures of this machine's file, which are none of the link."""
    try:
        yield
    except OSError as failure:
        raise error(f"cannot {doing} {local}: {failure.strerror}") from None


class _Pace:
    """Notices a transfer that does not end."""

    def __init__(self) -> None:
        self._end = time.monotonic() + ANSWER_TIMEOUT

    def moved(self, count: int) -> None:
        """So many bytes more; raises ``TimeoutError`` when they took too long."""
        self._end += count / _SLOWEST
        if time.monotonic() > self._end:
            raise TimeoutError


class TooLargeError(Exception):
    """The device's file has more bytes than were expected."""


class Sync:
    """One stream to the service; files go one after the other."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._in = Incoming(stream)

    def close(self) -> None:
        """End it; never raises."""
        self._stream.close()

    def push(self, local: Path, remote: str, progress: Callable[[int], None]) -> None:
        """Copy a file to the device, where it replaces what has its name.

        Raises ``Refusal`` with the device's reason, which it may say before everything has
        been sent: the rest stays here then, and the stream is of no further use.
        """
        where = b"%s,%d" % (_path(remote), _MODE)
        pace = _Pace()
        with _own(PushError, "read", local):
            opened = open(local, "rb", buffering=0)  # noqa: SIM115  closed below
        with opened as source:
            self._stream.send(SYNC_HEAD.pack(b"SEND", len(where)) + where)
            packet = memoryview(bytearray(self._stream.packet))
            more = True
            while more:
                filled = count = 0
                while len(packet) - filled > SYNC_HEAD.size:
                    begin = filled + SYNC_HEAD.size
                    with _own(PushError, "read", local):
                        read = source.readinto(packet[begin : begin + SYNC_MAX_DATA])
                    if not read:
                        more = False
                        break
                    SYNC_HEAD.pack_into(packet, filled, b"DATA", read)
                    filled, count = begin + read, count + read
                self._stream.send(packet[:filled])
                pace.moved(count)
                if count:
                    progress(count)
                if self._in.waiting():  # nothing is said before the end but a refusal
                    break
        if not self._in.waiting():
            # The file is as old as its copy: a part of a push must not look left over.
            self._stream.send(SYNC_HEAD.pack(b"DONE", int(time.time()) & 0xFFFFFFFF))
        word, size = self._head()
        if word != b"OKAY":
            raise self._refusal(word, size)

    def pull(self, remote: str, local: Path, limit: int) -> int:
        """Copy a file from the device; returns its size.

        Raises ``Refusal``, and ``TooLargeError`` once there are more than ``limit`` bytes.
        """
        path = _path(remote)
        with _own(PullError, "write", local):
            # Without a buffer nothing is left to be written when it is closed.
            opened = open(local, "wb", buffering=0)  # noqa: SIM115  closed below
        with opened as target:
            self._stream.send(SYNC_HEAD.pack(b"RECV", len(path)) + path)
            total, pace = 0, _Pace()
            while True:
                word, size = self._head()
                if word == b"DONE":
                    return total
                if word != b"DATA":
                    raise self._refusal(word, size)
                if not size:
                    raise ProtocolError("the device sends pieces of a file without a byte")
                total += size
                if total > limit:
                    raise TooLargeError
                while size:
                    part = self._in.some(size)
                    size -= len(part)
                    pace.moved(len(part))
                    while part:
                        with _own(PullError, "write", local):
                            part = part[target.write(part) :]

    def _head(self) -> tuple[bytes, int]:
        word, size = SYNC_HEAD.unpack(self._in.exactly(SYNC_HEAD.size))
        return word, size

    def _refusal(self, word: bytes, size: int) -> Exception:
        if word != b"FAIL" or size > _MAX_FAIL:
            return ProtocolError(f"the device answered {word!r} {size} to a transfer of files")
        return Refusal(self._in.exactly(size))
