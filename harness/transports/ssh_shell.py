"""One run of ``device_agents/shell/serve.sh`` on the device, and how to speak with it.

Files follow each other without a wait, in the link's own packets: neither an sftp server nor an
answer per block or file is needed. The device hashes a file as it writes it.
"""

from __future__ import annotations

import os
import re
import secrets
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import paramiko

from harness.errors import (
    AgentTimeoutError,
    DeviceFullError,
    LinkLostError,
    ProtocolError,
    PushError,
)
from harness.transports.gain import Gain
from harness.transports.lines import Tail
from harness.transports.scripts import script
from harness.transports.ssh_process import end, read_stderr
from harness.transports.transport import MAX_OUTPUT, Completed, Upload

#: Seconds in which the device must take more of a file, or say how it ended.
STALL_TIMEOUT = 120

#: Room that a packet's header takes of the largest packet that the server allows.
_HEADER = 64

_BLOCK = 1 << 18

#: Below this many bytes nothing is gained by packing.
_TOO_SMALL = 1 << 16

#: What OpenSSH's server lets a client send ahead of what the command has read; from there on
#: the link and the device set the pace, and the rest of so many bytes tells it.
_AHEAD = 4 << 20
_PROBE = 8 << 20

#: Bytes of a file that one frame announces; shells of 32 bits compute with them.
_FRAME = 1 << 30

#: A frame of packed bytes, at least: each costs the device a process.
_PACKED_FRAME = 1 << 20

SERVE = ("sh", "-c", script("serve.sh"), "serve.sh")

#: What the device may print before and between its answers.
_MOST_NOISE = 1 << 16


@dataclass
class Wire:
    """What is known of a link; ``beat`` is called whenever the device takes something."""

    name: str
    beat: Callable[[], None]
    #: Whether the device hashes ``beside`` the writing, for which the link leaves it time,
    #: or ``after`` it, where both ends share the processors.
    hashing: str = "beside"
    #: Bytes per second that the link was last seen to carry.
    rate: float | None = None
    #: Bytes of files as they went over the link, packed or not.
    bytes_sent: int = 0

    def count(self, size: int) -> None:
        """So many bytes more were taken."""
        self.bytes_sent += size
        self.beat()


class SshShell:
    """A shell on a channel on which ``SERVE`` was started."""

    def __init__(self, wire: Wire, channel: paramiko.Channel) -> None:
        self._wire, self._channel = wire, channel
        #: Whether it holds something, and so must go on as long as the link.
        self.holds = False
        self._progress: Callable[[int], None] = lambda _count: None
        self._tail = Tail(partial(read_stderr, channel))
        self._heard = bytearray()
        self._can: list[bytes] = []
        self._unanswered: list[Upload] = []
        self._placed: set[str] = set()
        self._sent, self._doing = 0, ""

    def close(self) -> None:
        """End it; never raises."""
        end(self._channel)

    @property
    def ended(self) -> bool:
        """Whether it serves no more."""
        return bool(self._channel.closed or self._channel.eof_received)

    def listens(self, timeout: float) -> bool:
        """Wait until it does; false where the device cannot run it."""
        self._channel.settimeout(timeout)
        try:
            self._can = self._can or self._answer(b"ready")[1:]
        except PushError:
            return False
        return True

    def many(self) -> bool:
        """Whether it takes more than one file and goes on; waits until it listens."""
        self._channel.settimeout(STALL_TIMEOUT)
        self._can = self._can or self._answer(b"ready")[1:]
        return self._can[:1] == [b"many"]

    def hold(self, argv: Sequence[str]) -> None:
        """Run ``sh -c TEXT NAME ...`` in this very shell; ``read_line`` gives what it says."""
        self.holds = True
        self._request("stay", *argv[2:])

    def _request(self, *words: str) -> None:
        try:
            self._channel.sendall(" ".join(map(_coded, words)).encode() + b"\n")
        except TimeoutError:
            raise
        except (OSError, EOFError, paramiko.SSHException):
            raise self._ended() from None

    def read_line(self, timeout: float) -> bytes:
        """The next line; empty at the end. Raises ``TimeoutError``, ``LinkLostError``."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._heard:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._channel.settimeout(left)
            if len(self._heard) > _MOST_NOISE or not self._received():
                break
        line, end, self._heard = self._heard.partition(b"\n")
        if not line and not end and self._cut():
            raise LinkLostError(f"{self._wire.name}: the link was cut")
        return bytes(line + end)

    def send(self, data: bytes) -> None:
        """Lines for what it holds; raises ``LinkLostError``."""
        try:
            self._channel.settimeout(STALL_TIMEOUT)
            self._channel.sendall(data)
        except (OSError, paramiko.SSHException):
            raise LinkLostError(f"{self._wire.name}: nobody reads the request") from None

    def wait(self, timeout: float) -> int | None:
        """The exit code, or ``None`` while it goes on or where none came."""
        if not self._channel.status_event.wait(timeout) or self._channel.exit_status < 0:
            return None
        return int(self._channel.exit_status)

    def stderr_tail(self) -> str:
        """The last of what it wrote to stderr."""
        return self._tail.text()

    def run(self, argv: Sequence[str], timeout: float) -> Completed:
        """Run one script; raises ``TimeoutError``, ``LinkLostError``, ``ProtocolError``."""
        mark = secrets.token_hex(12)
        self._request("run", mark, *argv[2:])
        deadline = time.monotonic() + timeout
        line = re.compile(rb"\n%s ([0-9]{1,3})\n" % mark.encode())
        end = b"\n%s end\n" % mark.encode()
        while not self._heard.endswith(end):
            if len(self._heard) > MAX_OUTPUT:
                raise ProtocolError(
                    f"{self._wire.name}: {argv[3]} printed more than {MAX_OUTPUT:,} bytes"
                )
            if time.monotonic() > deadline:
                raise TimeoutError
            self._hear()
        found = line.search(self._heard)
        if found is None:
            raise ProtocolError(f"{self._wire.name}: {argv[3]} answered nonsense")
        out, errors = self._heard[: found.start()], self._heard[found.end() : -len(end)]
        self._heard = bytearray()
        return Completed(int(found[1]), bytes(out), bytes(errors))

    def put(self, files: Sequence[Upload], progress: Callable[[int], None]) -> set[str]:
        """Send the files; those that the device has verified and moved to their places."""
        self._progress = progress
        self._channel.settimeout(STALL_TIMEOUT)
        self._placed = set()
        for file in files:
            self._send(file)
        self._settle()
        return self._placed

    def _send(self, file: Upload) -> None:
        size = file.local.stat().st_size
        left = size - file.offset
        packs = b"gzip" in self._can and left >= _TOO_SMALL
        gain = Gain(file.local, file.offset) if packs else None
        unknown = self._wire.rate is None and b"many" in self._can
        if gain and gain.promises and unknown and left >= 2 * _PROBE:
            # Nothing is known of the link yet: a part of the file tells.
            end = file.offset + _PROBE
            self._stream(replace(file, place=None), end, "plain")
            file = replace(file, offset=end)
        packed = gain is not None and gain.pays(self._wire.rate)
        self._stream(file, size, "gzip" if packed else "plain")

    def _settle(self) -> None:
        """Hear what became of everything that was sent."""
        while self._unanswered:
            word = self._answer(b"placed", b"done", b"wrong")[0]
            file = self._unanswered.pop(0)
            if word == b"placed":
                self._placed.add(file.remote)

    def _stream(self, file: Upload, end: int, mode: str) -> None:
        """Send the file's bytes up to ``end``."""
        self._sent, self._doing = 0, file.local.name[:16]
        begun: tuple[int, float] | None = None
        largest = self._channel.out_max_packet_size - _HEADER
        framed = self.many()
        blocks = _blocks(file, end, mode, self._told)
        self._unanswered.append(file)
        try:
            line = _first_line(file, end, mode, "frames" if framed else "rest", self._wire.hashing)
            self._channel.sendall(line)
            for data in _frames(blocks, end - file.offset, mode) if framed else blocks:
                if self._channel.closed:
                    raise OSError
                for at in range(0, len(data), largest):
                    self._channel.sendall(data[at : at + largest])
                self._wire.count(len(data))
                if begun is None and self._sent >= _AHEAD:
                    begun = self._sent, time.monotonic()
            if begun and mode == "plain" and self._sent >= _PROBE - _BLOCK:
                took = max(time.monotonic() - begun[1], 1e-3)
                self._wire.rate = (self._sent - begun[0]) / took
            if not framed:
                self._channel.shutdown_write()
        except TimeoutError:
            raise self._stalled() from None
        except (OSError, EOFError, paramiko.SSHException):
            raise self._ended() from None

    def _told(self, count: int) -> None:
        self._sent += count
        self._progress(count)

    def _answer(self, *known: bytes) -> list[bytes]:
        """The words of the next line that begins with one of ``known``."""
        noise = 0
        while True:
            while b"\n" not in self._heard:
                try:
                    self._hear()
                except TimeoutError:
                    raise self._stalled() from None
            line, _, self._heard = self._heard.partition(b"\n")
            words = bytes(line).split()
            if words and words[0] in known:
                return words
            noise += len(line) + 1
            if noise + len(self._heard) > _MOST_NOISE:
                raise ProtocolError(f"{self._wire.name}: the device's shell answers nonsense")

    def _hear(self) -> None:
        """More of what it says; raises ``TimeoutError``, and why it ended."""
        if not self._received():
            raise self._ended()

    def _received(self) -> bool:
        """Take more of what it says; false at its end. Raises ``TimeoutError``."""
        try:
            data = self._channel.recv(1 << 16)
        except TimeoutError:
            raise
        except (OSError, EOFError, paramiko.SSHException):
            return False
        self._heard += data
        return bool(data)

    def _cut(self) -> bool:
        """Whether it ended with the link, not by itself."""
        self._channel.status_event.wait(2)
        return bool(self._channel.exit_status < 0)

    def _stalled(self) -> LinkLostError:
        seconds = f"{self._channel.gettimeout() or 0:g} s"
        if not self._doing:
            return LinkLostError(f"{self._wire.name}: its login shell was not ready in {seconds}")
        return LinkLostError(
            f"{self._wire.name}: the device took no more of {self._doing} for {seconds}"
        )

    def _ended(self) -> LinkLostError | PushError | DeviceFullError:
        """Why the receiver ended before it was told to."""
        name = self._wire.name
        if self._cut():
            where = f" {self._sent:,} bytes into {self._doing}" if self._doing else ""
            return LinkLostError(f"{name}: the link was cut{where}")
        said = " ".join(self._tail.text().split())[-300:]
        text = "".join(c if c.isprintable() else "\ufffd" for c in said)
        doing = self._doing or "files"
        if "No space left" in text or "quota" in text:
            return DeviceFullError(
                f"{name}: no space left on the device for {doing}",
                hint="free some space on the device, or set its work_dir to another disk",
            )
        if self.holds and not text:
            return LinkLostError(f"{name}: the shell on the device has ended")
        text = text or f"exit code {self._channel.exit_status}"
        return PushError(f"{name}: cannot write {doing} on the device: {text}")


class SshHeld:
    """What a shell holds, as a ``Process``; its end is that of the shell."""

    def __init__(self, shell: SshShell, name: str) -> None:
        self._shell, self._name = shell, name
        self.send, self.wait = shell.send, shell.wait
        self.kill, self.stderr_tail = shell.close, shell.stderr_tail

    def read_line(self, timeout: float) -> bytes:
        """See ``Process``."""
        try:
            return self._shell.read_line(timeout)
        except TimeoutError:
            raise AgentTimeoutError(
                f"{self._name}: the device said nothing for {timeout:g} s"
            ) from None


def _first_line(file: Upload, end: int, mode: str, frame: str, hashing: str) -> bytes:
    """What ``serve.sh`` reads before the bytes of a file."""
    parts = ["put", str(file.offset), str(end), mode, frame, hashing, _coded(file.remote)]
    place = file.place
    if place is not None:
        parts += [place.sha256, "x" if place.executable else "-", _coded(place.path)]
    else:
        parts += ["-", "-", "-"]
    return " ".join(parts).encode() + b"\n"


def _frames(blocks: Iterator[bytes], size: int, mode: str) -> Iterator[bytes]:
    """The blocks with a line before so many of their bytes, and the line that ends them."""
    if mode == "plain":
        sent = 0
        for block in blocks:
            if sent % _FRAME == 0:
                yield b"%d\n" % min(_FRAME, size - sent)
            yield block
            sent += len(block)
        if sent != size:
            raise PushError("a file changed while it was sent")
    else:
        packed = bytearray()
        for block in blocks:
            packed += block
            if len(packed) >= _PACKED_FRAME:
                yield b"%d\n" % len(packed)
                yield bytes(packed)
                packed.clear()
        if packed:
            yield b"%d\n" % len(packed)
            yield bytes(packed)
    yield b"0\n"


def _coded(word: str) -> str:
    """A word for ``printf %b``: what could end it, or mean something to it, as octal numbers."""
    if not word:
        return "\\c"  # ends what printf prints
    return "".join(
        chr(byte) if 32 < byte < 127 and byte != 92 else f"\\0{byte:03o}"
        for byte in os.fsencode(word)
    )


def _blocks(file: Upload, end: int, mode: str, tell: Callable[[int], None]) -> Iterator[bytes]:
    pack = zlib.compressobj(1, zlib.DEFLATED, 31) if mode == "gzip" else None
    left = end - file.offset
    try:
        source = open(file.local, "rb")  # noqa: SIM115  closed below
    except OSError as error:
        raise PushError(f"cannot read {file.local}: {error.strerror}") from None
    with source:
        source.seek(file.offset)
        while left and (block := source.read(min(_BLOCK, left))):
            left -= len(block)
            data = pack.compress(block) if pack else block
            if data:
                yield data
            tell(len(block))
    if pack:
        yield pack.flush()
