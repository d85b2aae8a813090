"""Files of the device: the service ``sync:``.

A request is an id, a length and a path; a file travels in pieces of at most 64 KiB. Source: AOSP
packages/modules/adb ``SYNC.TXT``, ``file_sync_protocol.h``, ``daemon/file_sync_service.cpp``
(modes, what is unlinked before it is written, the end after a failure). The process that runs
this has the device's root as its own, so no path leads out of it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from collections.abc import Callable, Iterator

from harness.adb_protocol import SYNC_HEAD, SYNC_MAX_DATA, SYNC_MAX_PATH
from harness.emulation.android.streams import Stream

_STAT_1 = struct.Struct("<4s3I")
_STAT_2 = struct.Struct("<4sIQQIIIIQqqq")
_ENTRY_1 = struct.Struct("<4s4I")
_ENTRY_2 = struct.Struct("<4sIQQIIIIQqqqI")

#: Answers that wait for the client to take them; no more requests are read above it.
_MAX_ANSWERS = 1 << 20


class SyncError(Exception):
    """The request ends, and the service with it; the client is told why."""


class UploadError(SyncError):
    """A file cannot be written. The client may first read answers when it has sent all of it."""


class Sync:
    """The service; see ``streams.Service``."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._head = bytearray()  # of what is being read
        self._wanted = SYNC_HEAD.size
        self._then: Callable[[bytes], None] = self._request
        self._command = b""
        self._upload: Upload | None = None
        self._refused = False  # what comes of the upload is thrown away
        self._left = 0  # of the piece that is being received
        self._answers = bytearray()
        self._producer: Iterator[bytes | memoryview] | None = None
        self._made = memoryview(b"")  # by the producer, not sent yet
        self._later = bytearray()  # what came while something was being sent
        self._ended = False

    # -- from the client ------------------------------------------------------------------

    def received(self, data: memoryview) -> bool:
        """See ``Service``."""
        if self._upload is not None or self._refused:
            # Written while the client makes the next piece ready.
            self._stream.consumed()
        self._later += data if self._later else self._feed(data)
        self._stream.wake()
        return not self._later

    def _busy(self) -> bool:
        return self._producer is not None or len(self._answers) > _MAX_ANSWERS

    def _feed(self, data: memoryview) -> memoryview:
        """Work on requests; returns what is not for now."""
        try:
            while len(data) and not self._busy() and not self._ended:
                if self._left:
                    piece = data[: self._left]
                    data = data[len(piece) :]
                    self._left -= len(piece)
                    self._write(piece)
                    continue
                missing = self._wanted - len(self._head)
                self._head += data[:missing]
                data = data[missing:]
                if len(self._head) == self._wanted:
                    head = bytes(self._head)
                    self._head.clear()
                    self._then(head)
        except SyncError as failure:
            self._fail(str(failure))
        return data[:0] if self._ended else data

    def _write(self, piece: memoryview) -> None:
        try:
            if self._upload is not None:
                self._upload.write(piece)
        except UploadError as failure:
            self._refuse(str(failure))

    def _expect(self, count: int, then: Callable[[bytes], None]) -> None:
        self._wanted, self._then = count, then

    def _request(self, data: bytes) -> None:
        self._command, length = SYNC_HEAD.unpack(data)
        if self._command == b"QUIT":
            self._end()
            return
        if self._command not in _COMMANDS:
            raise SyncError(f"unknown command {self._command.hex()}")
        if length > SYNC_MAX_PATH:
            raise SyncError("path too long")
        if length:
            self._expect(length, self._path)
        else:
            self._path(b"")

    def _path(self, path: bytes) -> None:
        self._expect(SYNC_HEAD.size, self._request)
        if b"\0" in path:
            raise SyncError("a path with a NUL")
        if self._command == b"SEND":
            self._expect(SYNC_HEAD.size, self._piece)
            try:
                self._upload = Upload(path)
            except UploadError as failure:
                self._refuse(str(failure))
        elif self._command == b"RECV":
            self._producer = download(path)
        elif self._command in (b"LIST", b"LIS2"):
            self._producer = listing(path, second=self._command == b"LIS2")
        elif self._command == b"STAT":
            self._answers += stat_1(path)
        else:
            self._answers += stat_2(self._command, path)

    def _piece(self, data: bytes) -> None:
        kind, size = SYNC_HEAD.unpack(data)
        if kind == b"DONE":
            upload, self._upload = self._upload, None
            if upload is None:
                self._end()
                return
            self._expect(SYNC_HEAD.size, self._request)
            upload.finish(size)
            self._answers += SYNC_HEAD.pack(b"OKAY", 0)
        elif kind != b"DATA":
            raise SyncError("invalid data message")
        elif size > SYNC_MAX_DATA:
            raise SyncError("oversize data message")
        else:
            self._left = size

    def _refuse(self, reason: str) -> None:
        """Tell of a failure; go on reading."""
        text = reason.encode("utf-8", "backslashreplace")
        self._answers += SYNC_HEAD.pack(b"FAIL", len(text)) + text
        self._refused = True
        if self._upload is not None:
            self._upload.discard()
            self._upload = None

    def _fail(self, reason: str) -> None:
        if not self._refused:
            self._refuse(reason)
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._stream.end()

    # -- to the client --------------------------------------------------------------------

    def next_output(self, limit: int) -> bytes | memoryview | None:
        """See ``Service``."""
        if self._answers:
            answer = bytes(self._answers[:limit])
            del self._answers[:limit]
            return answer
        if self._producer is not None:
            try:
                if not self._made:
                    self._made = memoryview(next(self._producer))
                data, self._made = self._made[:limit], self._made[limit:]
                return data
            except StopIteration:
                self._producer = None
            except SyncError as failure:
                self._producer = None
                self._fail(str(failure))
                return self.next_output(limit)
        if self._later:
            later, self._later = self._later, bytearray()
            with memoryview(later) as view:
                self._later += self._feed(view)
            if not self._later:
                self._stream.consumed()
            return self.next_output(limit) if self._answers or self._producer else None
        return None

    def closed(self) -> None:
        """See ``Service``."""
        self._producer = None
        if self._upload is not None:
            self._upload.discard()
            self._upload = None


_COMMANDS = {b"STAT", b"STA2", b"LST2", b"LIST", b"LIS2", b"SEND", b"RECV"}


class Upload:
    """A file or a symbolic link that is being received."""

    def __init__(self, spec: bytes) -> None:
        """Open it; raises ``SyncError``, ``UploadError``."""
        self.path, _, mode = spec.rpartition(b",")
        self._file: int | None = None
        self._unlink = True
        self._target = bytearray()
        try:
            self._mode = int(mode, 8 if mode.startswith(b"0") else 10)
        except ValueError:
            raise SyncError("bad mode") from None
        if not 0 <= self._mode <= 0xFFFFFFFF:
            raise SyncError("bad mode")
        if not self.path:
            raise SyncError("missing , in ID_SEND_V1")
        self._is_link = stat.S_ISLNK(self._mode)
        if not self._is_link:
            with _failing("couldn't create file"):
                self._open()

    def _clear(self) -> None:
        """Remove what a new file replaces; other things than files are written into."""
        with contextlib.suppress(FileNotFoundError):
            self._unlink = stat.S_IFMT(os.lstat(self.path).st_mode) in (stat.S_IFREG, stat.S_IFLNK)
        if self._unlink:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)

    def _open(self) -> None:
        with contextlib.suppress(OSError):
            self._clear()
        mode = self._mode & 0o777
        mode |= (mode >> 3) & 0o070
        mode |= (mode >> 3) & 0o007
        new = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        try:
            file = os.open(self.path, new, mode)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self.path), 0o775, exist_ok=True)
            file = os.open(self.path, new, mode)
        except FileExistsError:
            file = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
        self._file = file
        with contextlib.suppress(OSError):
            os.fchmod(file, mode)

    def write(self, piece: memoryview) -> None:
        """Append a piece; raises ``UploadError``."""
        if self._is_link:
            if len(self._target) + len(piece) > SYNC_MAX_DATA:
                raise SyncError("oversize data message")
            self._target += piece
        with _failing("write failed"):
            while len(piece) and self._file is not None:
                piece = piece[os.write(self._file, piece) :]

    def finish(self, modified: int) -> None:
        """All has come; raises ``UploadError``."""
        if self._is_link:
            with _failing("symlink failed"):
                self._make_link()
        self._close()
        with contextlib.suppress(OSError):
            os.utime(self.path, (modified, modified), follow_symlinks=False)

    def _make_link(self) -> None:
        with contextlib.suppress(OSError):
            self._clear()
        target = bytes(self._target).split(b"\0")[0]
        os.makedirs(os.path.dirname(self.path), 0o775, exist_ok=True)
        os.symlink(target, self.path)  # noqa: PTH211  paths are bytes

    def discard(self) -> None:
        """Leave nothing half written."""
        if self._file is not None and self._unlink:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        self._close()

    def _close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
            self._file = None


@contextlib.contextmanager
def _failing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UploadError(f"{what}: {error.strerror}") from None


def download(path: bytes) -> Iterator[memoryview]:
    """A file as DATA messages, many at a time, and DONE; raises ``SyncError``."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SyncError(f"open failed: {reason}") from None
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise SyncError("read failed: not a regular file")
        whole = SYNC_HEAD.size + SYNC_MAX_DATA
        view = memoryview(bytearray(14 * whole + SYNC_HEAD.size))
        while True:
            at, count = 0, 1
            while count and at + whole < len(view):
                start = at + SYNC_HEAD.size
                try:
                    count = os.readv(file, [view[start : start + SYNC_MAX_DATA]])
                except OSError as error:
                    raise SyncError(f"read failed: {error.strerror}") from None
                if count:
                    SYNC_HEAD.pack_into(view, at, b"DATA", count)
                    at = start + count
            if not count:
                SYNC_HEAD.pack_into(view, at, b"DONE", 0)
                yield view[: at + SYNC_HEAD.size]
                return
            yield view[:at]
    finally:
        os.close(file)


def listing(path: bytes, *, second: bool) -> Iterator[bytes]:
    """What is in a folder, as entries of either version, and DONE."""
    form = _ENTRY_2 if second else _ENTRY_1
    pieces = bytearray()
    try:
        names = [b".", b"..", *sorted(os.listdir(path))]
    except OSError:
        names = []
    for name in names:
        try:
            fields = _fields(os.lstat(os.path.join(path, name)), second=second)
        except OSError as error:
            if not second:
                continue
            fields = (error.errno or 0, *[0] * 10)
        pieces += form.pack(b"DNT2" if second else b"DENT", *fields, len(name)) + name
        if len(pieces) > SYNC_MAX_DATA:
            yield bytes(pieces)
            pieces.clear()
    yield bytes(pieces + form.pack(b"DONE", *[0] * (12 if second else 4)))


def stat_1(path: bytes) -> bytes:
    """The answer to STAT; all zero if there is nothing."""
    try:
        return _STAT_1.pack(b"STAT", *_fields(os.lstat(path), second=False))
    except OSError:
        return _STAT_1.pack(b"STAT", 0, 0, 0)


def stat_2(command: bytes, path: bytes) -> bytes:
    """The answer to STA2 (follows links) and LST2."""
    try:
        found = os.stat(path, follow_symlinks=command == b"STA2")  # noqa: PTH116  paths are bytes
    except OSError as error:
        # Linux' numbers, which are the protocol's.
        return _STAT_2.pack(command, error.errno or 0, *[0] * 10)
    return _STAT_2.pack(command, *_fields(found, second=True))


def _fields(found: os.stat_result, *, second: bool) -> tuple[int, ...]:
    seconds = [int(value) for value in (found.st_atime, found.st_mtime, found.st_ctime)]
    if not second:
        return found.st_mode, found.st_size & 0xFFFFFFFF, seconds[1] & 0xFFFFFFFF
    return (
        0, found.st_dev, found.st_ino, found.st_mode, found.st_nlink & 0xFFFFFFFF, found.st_uid,
        found.st_gid, found.st_size, *seconds,
    )  # fmt: skip
