"""Commands on an Android device: the shell protocol, and what devices without it can do.

Shell protocol ("v2", ``shell_protocol.h`` of Android's adb, since Android 7): packets of one byte
(0 stdin, 1 stdout, 2 stderr, 3 exit code, 4 close stdin) and a little-endian 32-bit length.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from harness.adb_protocol import CLOSE_STDIN, EXIT, SHELL_PACKET, STDERR, STDIN, STDOUT
from harness.errors import LinkLostError, ProtocolError
from harness.transports.adb_stream import Incoming, Link, Stream
from harness.transports.lines import TAIL_BYTES, LineReader
from harness.transports.quoting import command_line
from harness.transports.transport import MAX_OUTPUT

#: Bytes of stdin in one packet.
_CHUNK = 32 * 1024

#: Before the exit code in the output of a device without the shell protocol.
_MARK = b"\x1e"

#: In place of a command that is too long for a service: it comes as the first line of stdin.
#: ``read`` takes one byte at a time off a pipe, so what follows is the command's own stdin.
READ, READ_COMMAND = b"IFS= read -r line && ", b'eval "$(printf %b "$line")"'


def as_line(command: bytes) -> bytes:
    """A command for ``READ_COMMAND``."""
    return command.replace(b"\\", b"\\\\").replace(b"\n", b"\\n") + b"\n"


class Command(Protocol):
    """A running command. One thread may write while another reads."""

    def write(self, data: bytes) -> None:
        """To its stdin."""

    def end_input(self) -> None:
        """Its stdin has ended, where the device can be told."""

    def read(self, timeout: float) -> tuple[int, bytes] | None:
        """``STDOUT`` or ``STDERR`` and bytes, ``EXIT`` and the code; ``None`` for silence.

        Raises ``EOFError`` for an end without an exit code, ``ProtocolError``.
        """

    def close(self) -> None:
        """End the stream, and by that the command; never raises."""


class ShellCommand:
    """A command under the shell protocol."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._in = Incoming(stream)
        self._kind = self._left = 0

    @staticmethod
    def service(command: bytes, before: bytes = b"") -> bytes:
        """What to ask adbd for: a command for its shell, after what is to be done ``before``."""
        return b"shell,v2,raw:" + before + command

    def write(self, data: bytes) -> None:
        """See ``Command``."""
        for begin in range(0, len(data), _CHUNK):
            part = data[begin : begin + _CHUNK]
            self._stream.send(SHELL_PACKET.pack(STDIN, len(part)) + part)

    def end_input(self) -> None:
        """See ``Command``."""
        self._stream.send(SHELL_PACKET.pack(CLOSE_STDIN, 0))

    def read(self, timeout: float) -> tuple[int, bytes] | None:
        """See ``Command``."""
        try:
            if not self._left:
                self._kind, self._left = SHELL_PACKET.unpack(
                    self._in.exactly(SHELL_PACKET.size, timeout)
                )
                if self._kind not in (STDOUT, STDERR, EXIT) or (
                    self._kind == EXIT and self._left != 1
                ):
                    raise ProtocolError(
                        f"the device broke the shell protocol: packet {self._kind} "
                        f"of {self._left:,} bytes"
                    )
            part = bytes(self._in.some(self._left, timeout)) if self._left else b""
        except TimeoutError:
            return None
        self._left -= len(part)
        return self._kind, part

    def close(self) -> None:
        """See ``Command``."""
        self._stream.close()


class PlainCommand:
    """A command on a device without the shell protocol (before Android 7).

    Both outputs come as one there, the exit code is printed behind them, and stdin cannot be
    ended without the stream: a known number of bytes is cut off by ``head``.
    """

    def __init__(self, stream: Stream, token: bytes) -> None:
        self._stream = stream
        self._in = Incoming(stream)
        self._end = re.compile(re.escape(_MARK + token) + rb":(\d{1,3})\n\Z")
        self._longest = len(token) + 8
        self._held = b""

    @staticmethod
    def service(
        command: bytes, before: bytes = b"", *, token: bytes, input_bytes: int | None
    ) -> bytes:
        """See ``ShellCommand.service``; ``None`` input bytes leave stdin open.

        With an open stdin the command is to be talked to, and what it writes to stderr would
        only disturb: it is lost.
        """
        if input_bytes is None:
            command += b" 2>/dev/null"
        elif input_bytes == 0:
            command += b" </dev/null 2>&1"
        else:
            command = b"head -c %d | %s 2>&1" % (input_bytes, command)
        return b"exec:%s%s; echo '%s%s':$?" % (before, command, _MARK, token)

    def write(self, data: bytes) -> None:
        """See ``Command``."""
        self._stream.send(data)

    def end_input(self) -> None:
        """See ``Command``."""

    def read(self, timeout: float) -> tuple[int, bytes] | None:
        """See ``Command``."""
        try:
            self._held += self._in.some(1 << 16, timeout)
        except TimeoutError:
            return None
        except EOFError:
            found = self._end.search(self._held)
            if not found:
                raise
            rest, self._held = self._held[: found.start()], found.group()
            return (STDOUT, rest) if rest else (EXIT, bytes([int(found[1]) & 255]))
        # What may be the beginning of the mark is kept back.
        cut = self._held.rfind(_MARK, max(0, len(self._held) - self._longest))
        cut = len(self._held) if cut < 0 else cut
        part, self._held = self._held[:cut], self._held[cut:]
        return STDOUT, part

    def close(self) -> None:
        """See ``Command``."""
        self._stream.close()


def start_command(
    link: Link, features: frozenset[str], argv: Sequence[str], input_bytes: int | None
) -> Command:
    """Start a command as the device can; ``None`` input bytes leave its stdin open.

    One that is longer than the link's services may be costs one more way to the device.
    """
    line = command_line(argv).encode("utf-8", "surrogateescape")
    token = secrets.token_hex(8).encode()
    service: Callable[..., bytes]
    wrap: Callable[[Stream], Command]
    if "shell_v2" in features:
        # The shell gives its process to the program: adbd's SIGHUP at the end of the stream
        # reaches the program itself.
        line = b"exec " + line
        service, wrap = ShellCommand.service, ShellCommand
    else:
        service = partial(PlainCommand.service, token=token, input_bytes=input_bytes)
        wrap = partial(PlainCommand, token=token)
    name = service(line)
    if len(name) <= link.longest_service:
        return wrap(link.stream(name))
    command = wrap(link.stream(service(READ_COMMAND, READ)))
    try:
        command.write(as_line(line))
    except BaseException:
        command.close()
        raise
    return command


def feed(command: Command, data: bytes) -> threading.Thread:
    """Write all of a command's stdin and end it, beside whoever reads its output.

    A command may end without reading its input, which is no error: what it printed and its
    exit code still follow. A lost link shows when they are read.
    """

    def write() -> None:
        with contextlib.suppress(OSError, EOFError, ProtocolError):
            command.write(data)
            command.end_input()

    thread = threading.Thread(target=write, name="feed-stdin", daemon=True)
    thread.start()
    return thread


class AdbProcess:
    """See ``Process``; everything arrives in one stream, so whoever reads sorts it."""

    def __init__(self, command: Command, name: str) -> None:
        self._command = command
        self._name = name
        self._lines = LineReader(self._receive)
        self._out = bytearray()
        self._tail = b""
        self._code: int | None = None
        self._lost: LinkLostError | ProtocolError | None = None
        self._closed = False

    def _pump(self, timeout: float) -> bool:
        """Take in one packet; ``False`` when nothing came or nothing more will."""
        if self._lost or self._closed or self._code is not None:
            return False
        try:
            packet = self._command.read(timeout)
        except (OSError, EOFError) as error:
            reason = f": {error}" if str(error) else ""
            self._lost = LinkLostError(f"{self._name}: the link was cut{reason}")
            return False
        except ProtocolError as error:
            self._lost = ProtocolError(f"{self._name}: {error.message}")
            return False
        if packet is None:
            return False
        kind, data = packet
        if kind == STDOUT:
            self._out += data[: MAX_OUTPUT - len(self._out)]
        elif kind == STDERR:
            self._tail = (self._tail + data)[-TAIL_BYTES:]
        else:
            self._code = data[0]
        return True

    def _receive(self, timeout: float) -> bytes | None:
        deadline = time.monotonic() + timeout
        while not self._out:
            if not self._pump(max(0.0, deadline - time.monotonic())):
                if self._lost:
                    raise self._lost
                return b"" if self._closed or self._code is not None else None
            # Packets without a byte of stdout keep coming for as long as the device likes.
            if not self._out and time.monotonic() > deadline:
                return None
        data = bytes(self._out)
        self._out.clear()
        return data

    def send(self, data: bytes) -> None:
        """See ``Process``."""
        try:
            self._command.write(data)
        except (OSError, EOFError, ProtocolError):
            raise LinkLostError(f"{self._name}: nobody reads the request") from None

    def read_line(self, timeout: float) -> bytes:
        """See ``Process``."""
        return self._lines.read_line(timeout)

    def wait(self, timeout: float) -> int | None:
        """See ``Process``. A death by signal comes as 128 + signal, as adbd reports it."""
        deadline = time.monotonic() + timeout
        while self._code is None:
            more = self._pump(max(0.0, deadline - time.monotonic()))
            if time.monotonic() > deadline or (not more and (self._lost or self._closed)):
                break
        return self._code

    def kill(self) -> None:
        """See ``Process``. The end of the stream ends its stdin and brings it a SIGHUP."""
        self._closed = True
        self._command.close()

    def stderr_tail(self) -> str:
        """See ``Process``."""
        deadline = time.monotonic() + 0.5
        while self._pump(max(0.0, deadline - time.monotonic())):
            if time.monotonic() > deadline:
                break
        return self._tail.decode("utf-8", "replace")
