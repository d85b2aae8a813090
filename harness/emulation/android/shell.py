"""Commands on the device: ``shell:`` with and without the shell protocol, ``exec:``.

Source: AOSP packages/modules/adb ``daemon/shell_service.cpp`` (arguments before the colon, exit
codes, the hang-up of a command whose client has gone).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from harness.adb_protocol import (
    CLOSE_STDIN,
    EXIT,
    SHELL_PACKET,
    STDERR,
    STDIN,
    STDOUT,
    WINDOW,
)
from harness.emulation.android.streams import Stream

#: Seconds that a command has after the hang-up before it is killed.
GRACE = 1.0

#: What a pipe may hold, so that large outputs go in large pieces.
_PIPE = 1 << 20

#: Longest window size, "ROWSxCOLUMNS,XPIXELSxYPIXELS".
_MAX_WINDOW = 64


@dataclass(frozen=True, slots=True)
class Request:
    """A destination ``shell,v2,TERM=...,raw:COMMAND`` or ``exec:COMMAND``."""

    command: bytes
    packets: bool
    terminal: bool
    term: str = ""


def parse_request(name: str, command: bytes) -> Request | None:
    """Read what stands before the colon; ``None`` if it is no command of ours."""
    kind, *arguments = name.split(",")
    if kind == "exec" and not arguments:
        return Request(command, packets=False, terminal=False)
    if kind != "shell":
        return None
    terminal, packets, term = not command, False, ""
    for argument in arguments:
        if argument == "raw":
            terminal = False
        elif argument == "pty":
            terminal = True
        elif argument == "v2":
            packets = True
        elif argument.startswith("TERM="):
            term = argument.removeprefix("TERM=")
    return Request(command, packets, terminal, term)


class Packets:
    """Takes packets of the shell protocol apart; data is handed on as it comes."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._kind, self._left = 0, 0

    def feed(self, data: memoryview) -> list[tuple[int, memoryview]]:
        """The pieces of packets in ``data``: kind and bytes."""
        found = []
        while len(data):
            if not self._left:
                missing = SHELL_PACKET.size - len(self._head)
                self._head += data[:missing]
                data = data[missing:]
                if len(self._head) < SHELL_PACKET.size:
                    break
                self._kind, self._left = SHELL_PACKET.unpack(self._head)
                self._head.clear()
                if not self._left:
                    found.append((self._kind, data[:0]))
                continue
            piece = data[: self._left]
            data = data[len(piece) :]
            self._left -= len(piece)
            found.append((self._kind, piece))
        return found


class Command:
    """A running command as a service; see ``streams.Service``."""

    def __init__(
        self,
        stream: Stream,
        request: Request,
        env: Mapping[str, str],
        ended: Callable[[], None],
    ) -> None:
        """Start it; ``ended`` is called when it is over. Raises ``OSError``."""
        self._stream, self._tell_ended = stream, ended
        self._loop = asyncio.get_running_loop()
        self._packets = Packets() if request.packets else None
        self._window = bytearray()
        self._pending = bytearray()  # for stdin, when it is full
        self._stdin_ends = False
        self._terminal = request.terminal
        self._outputs: dict[int, int] = {}  # file -> kind of packet
        self._watched: set[int] = set()
        self._exit: int | None = None
        self._done = False
        self._stdin: int | None = None
        self._start(request, {**env, "TERM": request.term or "dumb"})
        self._pidfd = os.pidfd_open(self._process.pid)
        self._loop.add_reader(self._pidfd, self._exited)

    def _start(self, request: Request, env: Mapping[str, str]) -> None:
        command = [os.fsencode(env["SHELL"])]
        command += [b"-c", request.command] if request.command else [b"-l"]
        theirs: list[int] = []
        try:
            if request.terminal:
                ours, slave = os.openpty()
                theirs += [slave]
                self._stdin, self._outputs = ours, {ours: STDOUT}
                files = [slave, slave, slave]
            else:
                read, self._stdin = os.pipe()
                theirs.append(read)
                files = [read]
                for kind in (STDOUT, STDERR)[: 1 + request.packets]:
                    ours, write = os.pipe()
                    with contextlib.suppress(OSError):
                        fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, _PIPE)
                    self._outputs[ours] = kind
                    theirs.append(write)
                    files.append(write)
                files += files[-1:] * (3 - len(files))
            self._process = subprocess.Popen(
                command, stdin=files[0], stdout=files[1], stderr=files[2], env=env, cwd="/",
                start_new_session=True,
                preexec_fn=_own_terminal if request.terminal else None,
            )  # fmt: skip
        except OSError:
            for file in {*self._outputs, *([self._stdin] if self._stdin is not None else [])}:
                os.close(file)
            raise
        finally:
            for file in theirs:
                os.close(file)
        for file in {*self._outputs, self._stdin}:
            os.set_blocking(file, False)

    # -- from the client ------------------------------------------------------------------

    def received(self, data: memoryview) -> bool:
        """See ``Service``."""
        pieces = [(STDIN, data)] if self._packets is None else self._packets.feed(data)
        for kind, piece in pieces:
            if kind == STDIN:
                self._pending += piece
            elif kind == CLOSE_STDIN:
                self._stdin_ends = True
            elif kind == WINDOW and len(self._window) + len(piece) <= _MAX_WINDOW:
                self._window += piece
                self._resize()
        self._feed()
        return not self._pending

    def _feed(self) -> None:
        """Write what the command's stdin takes."""
        if self._stdin is None:
            self._pending.clear()
        while self._stdin is not None and self._pending:
            try:
                count = os.write(self._stdin, self._pending)
            except BlockingIOError:
                self._loop.add_writer(self._stdin, self._writable)
                return
            except OSError:  # nobody reads
                self._pending.clear()
                break
            del self._pending[:count]
        if self._stdin_ends and self._stdin is not None:
            if self._terminal:
                self._stdin_ends = False
                self._pending += b"\x04"
                self._feed()
            else:
                os.close(self._stdin)
                self._stdin = None

    def _writable(self) -> None:
        if self._stdin is not None:
            self._loop.remove_writer(self._stdin)
        self._feed()
        if not self._pending:
            self._stream.consumed()

    def _resize(self) -> None:
        """Give the terminal the size of the client's window, once it has come whole."""
        text = self._window.rstrip(b"\0").decode("ascii", "replace")
        numbers = text.replace(",", "x").split("x")
        if len(numbers) != 4 or not all(number.isdigit() for number in numbers):
            return
        self._window.clear()
        if self._terminal and self._stdin is not None:
            size = struct.pack("HHHH", *(int(number) & 0xFFFF for number in numbers))
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._stdin, termios.TIOCSWINSZ, size)

    # -- to the client --------------------------------------------------------------------

    def next_output(self, limit: int) -> bytes | None:
        """See ``Service``."""
        for file, kind in list(self._outputs.items()):
            try:
                data = os.read(file, limit - SHELL_PACKET.size)
            except BlockingIOError:
                if file not in self._watched:
                    self._watched.add(file)
                    self._loop.add_reader(file, self._readable)
                continue
            except OSError:  # the terminal's other end is closed
                data = b""
            if data:
                if self._packets is None:
                    return data
                return SHELL_PACKET.pack(kind, len(data)) + data
            self._forget(file)
        if self._outputs or self._exit is None:
            return None
        code, self._exit, self._done = self._exit, None, True
        self._stream.end()
        return SHELL_PACKET.pack(EXIT, 1) + bytes([code]) if self._packets is not None else None

    def _readable(self) -> None:
        for file in list(self._watched):
            self._loop.remove_reader(file)
        self._watched.clear()
        self._stream.wake()

    def _forget(self, file: int) -> None:
        if file in self._watched:
            self._loop.remove_reader(file)
            self._watched.discard(file)
        self._outputs.pop(file, None)
        if file == self._stdin:
            if self._terminal:
                self._loop.remove_writer(file)
            self._stdin = None
        os.close(file)

    def _exited(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        if not self._stream.open:
            return
        # Left as a zombie until the stream closes, so that its group keeps its number.
        ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        self._exit = ended.si_status + (0 if ended.si_code == os.CLD_EXITED else 128)
        self._stream.wake()

    def closed(self) -> None:
        """See ``Service``: its stdin ends, its shell is hung up, all of it is killed later."""
        if self._stdin is not None:
            self._loop.remove_writer(self._stdin)
        for file in list(self._outputs):
            self._forget(file)
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None
        if self._done:
            self._process.wait()
            self._tell_ended()
        else:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGHUP)
            self._loop.call_later(GRACE, self._kill)

    def _kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._tell_ended()


def _own_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
