"""A shell that stands ready on the device: ``device_agents/shell/serve.sh`` on one channel.

A login shell takes its time to start (some run a whole set-up for every command), so it starts
once, while the link is made, and serves helper scripts and files. Files follow each other
without a wait, in the link's own packets: neither an sftp server nor an answer per block or file
is needed. The device hashes a file as it writes it.
"""

from __future__ import annotations

import os
import queue
import re
import secrets
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial

import paramiko

from harness.errors import DeviceFullError, LinkLostError, ProtocolError, PushError
from harness.transports.gain import Gain
from harness.transports.lines import Tail
from harness.transports.scripts import script
from harness.transports.ssh_process import read_stderr
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

_COMMAND = ("sh", "-c", script("serve.sh"), "serve.sh")

#: What the device may print before and between its answers.
_MOST_NOISE = 1 << 16


class SshHelper:
    """Runs scripts and copies files over one link.

    ``open_command(argv)`` starts a command on it; ``beat`` is called whenever the device takes
    something.
    """

    def __init__(
        self,
        name: str,
        open_command: Callable[[Sequence[str]], paramiko.Channel],
        beat: Callable[[], None],
    ) -> None:
        self.name = name
        self._open = open_command
        self._beat = beat
        self._starting: queue.Queue[paramiko.Channel | None] | None = None
        self._shell: _Shell | None = None
        #: Whether the device hashes ``beside`` the writing, for which the link leaves it time,
        #: or ``after`` it, where both ends share the processors.
        self.hashing = "beside"
        #: Bytes per second that the link was last seen to carry.
        self.rate: float | None = None
        #: Bytes of files as they went over the link, packed or not.
        self.wire_bytes = 0

    def count(self, size: int) -> None:
        """So many bytes more were taken."""
        self.wire_bytes += size
        self._beat()

    def get_ready(self) -> None:
        """Let the shell start while whoever opened the link does something else."""
        box: queue.Queue[paramiko.Channel | None] = queue.Queue()

        def start() -> None:
            try:
                box.put(self._open(_COMMAND))
            except LinkLostError:
                box.put(None)

        self._starting = box
        threading.Thread(target=start, name="get-ready", daemon=True).start()

    def let_go(self) -> bool:
        """End the shell that stands ready; whether there was one."""
        shell = self._standing()
        if shell is not None:
            shell.close()
        return shell is not None

    def _standing(self) -> _Shell | None:
        """The shell that stands ready, taken out of its place."""
        box, self._starting = self._starting, None
        channel = box.get() if box is not None else None
        shell, self._shell = self._shell, None
        return shell if channel is None else _Shell(self, channel)

    def run(self, argv: Sequence[str], timeout: float) -> Completed | None:
        """Run ``sh -c TEXT NAME ...`` in the shell that stands ready; ``None`` without one."""
        shell = self._standing()
        if shell is None:
            return None
        try:
            if not shell.listens(timeout):
                shell.close()
                return None
            done = shell.run(argv, timeout)
        except BaseException:
            shell.close()
            raise
        self._shell = shell
        return done

    def put(self, files: Sequence[Upload], progress: Callable[[int], None]) -> Collection[str]:
        """See ``Transport``. The largest file goes last: it needs no frames."""
        left = sorted(files, key=lambda file: file.local.stat().st_size - file.offset)
        placed: set[str] = set()
        while left:
            shell = self._standing() or _Shell(self, self._open(_COMMAND))
            try:
                now, left = (left, []) if shell.many() else (left[:1], left[1:])
                placed |= shell.put(now, progress)
            finally:
                shell.close()
        return placed


class _Shell:
    """One run of ``serve.sh``."""

    def __init__(self, helper: SshHelper, channel: paramiko.Channel) -> None:
        self._helper, self._channel = helper, channel
        self._progress: Callable[[int], None] = lambda _count: None
        self._tail = Tail(partial(read_stderr, channel))
        self._heard = bytearray()
        self._can: list[bytes] = []
        self._unanswered: list[Upload] = []
        self._placed: set[str] = set()
        self._sent, self._doing = 0, "files"

    def close(self) -> None:
        """End it."""
        self._channel.close()

    def listens(self, timeout: float) -> bool:
        """Wait until it does; false where the device cannot run it."""
        self._channel.settimeout(timeout)
        try:
            self._can = self._can or self._answer(b"ready")[1:]
        except PushError:
            return False
        return True

    def many(self) -> bool:
        """Whether it takes more than one file; waits until it listens."""
        self._channel.settimeout(STALL_TIMEOUT)
        self._can = self._can or self._answer(b"ready")[1:]
        return self._can[:1] == [b"many"]

    def run(self, argv: Sequence[str], timeout: float) -> Completed:
        """Run one script; raises ``TimeoutError``, ``LinkLostError``, ``ProtocolError``."""
        mark = secrets.token_hex(12)
        words = ["run", mark, *(_coded(word) for word in argv[2:])]
        try:
            self._channel.sendall(" ".join(words).encode() + b"\n")
        except TimeoutError:
            raise
        except (OSError, EOFError, paramiko.SSHException):
            raise self._ended() from None
        deadline = time.monotonic() + timeout
        line = re.compile(rb"\n%s ([0-9]{1,3})\n" % mark.encode())
        end = b"\n%s end\n" % mark.encode()
        while not self._heard.endswith(end):
            if len(self._heard) > MAX_OUTPUT:
                raise ProtocolError(
                    f"{self._helper.name}: {argv[3]} printed more than {MAX_OUTPUT:,} bytes"
                )
            if time.monotonic() > deadline:
                raise TimeoutError
            self._hear()
        found = line.search(self._heard)
        if found is None:
            raise ProtocolError(f"{self._helper.name}: {argv[3]} answered nonsense")
        out, errors = self._heard[: found.start()], self._heard[found.end() : -len(end)]
        self._heard = bytearray()
        return Completed(int(found[1]), bytes(out), bytes(errors))

    def put(self, files: Sequence[Upload], progress: Callable[[int], None]) -> set[str]:
        """Send the files; those that the device has verified and moved to their places."""
        self._progress = progress
        self._channel.settimeout(STALL_TIMEOUT)
        for index, file in enumerate(files):
            self._send(file, last=index == len(files) - 1)
        self._settle()
        return self._placed

    def _send(self, file: Upload, *, last: bool) -> None:
        size = file.local.stat().st_size
        left = size - file.offset
        packs = b"gzip" in self._can and left >= _TOO_SMALL
        gain = Gain(file.local, file.offset) if packs else None
        unknown = self._helper.rate is None and b"many" in self._can
        if gain and gain.promises and unknown and left >= 2 * _PROBE:
            # Nothing is known of the link yet: a part of the file tells.
            end = file.offset + _PROBE
            self._stream(replace(file, place=None), end, "plain", "frames")
            file = replace(file, offset=end)
        packed = gain is not None and gain.pays(self._helper.rate)
        self._stream(file, size, "gzip" if packed else "plain", "rest" if last else "frames")

    def _settle(self) -> None:
        """Hear what became of everything that was sent."""
        while self._unanswered:
            word = self._answer(b"placed", b"done", b"wrong")[0]
            file = self._unanswered.pop(0)
            if word == b"placed":
                self._placed.add(file.remote)

    def _stream(self, file: Upload, end: int, mode: str, frame: str) -> None:
        """Send the file's bytes up to ``end``."""
        self._sent, self._doing = 0, file.local.name[:16]
        begun: tuple[int, float] | None = None
        largest = self._channel.out_max_packet_size - _HEADER
        self._unanswered.append(file)
        try:
            self._channel.sendall(_first_line(file, end, mode, frame, self._helper.hashing))
            for data in _blocks(file, end, mode, self._told):
                if self._channel.closed:
                    raise OSError
                if frame == "frames":
                    self._channel.sendall(b"%d\n" % len(data))
                for at in range(0, len(data), largest):
                    self._channel.sendall(data[at : at + largest])
                self._helper.count(len(data))
                if begun is None and self._sent >= _AHEAD:
                    begun = self._sent, time.monotonic()
            if begun and mode == "plain" and self._sent >= _PROBE - _BLOCK:
                took = max(time.monotonic() - begun[1], 1e-3)
                self._helper.rate = (self._sent - begun[0]) / took
            if frame == "frames":
                self._channel.sendall(b"0\n")
            else:
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
                raise ProtocolError(f"{self._helper.name}: the device's shell answers nonsense")

    def _hear(self) -> None:
        """More of what it says; raises ``TimeoutError``, and why it ended."""
        try:
            data = self._channel.recv(1 << 16)
        except TimeoutError:
            raise
        except (OSError, EOFError, paramiko.SSHException):
            data = b""
        if not data:
            raise self._ended()
        self._heard += data

    def _stalled(self) -> LinkLostError:
        return LinkLostError(
            f"{self._helper.name}: the device took no more of {self._doing} for {STALL_TIMEOUT} s"
        )

    def _ended(self) -> LinkLostError | PushError | DeviceFullError:
        """Why the receiver ended before it was told to."""
        self._channel.status_event.wait(2)
        name, code = self._helper.name, self._channel.exit_status
        if code < 0:
            return LinkLostError(
                f"{name}: the link was cut {self._sent:,} bytes into {self._doing}"
            )
        said = " ".join(self._tail.text().split())[-300:]
        text = "".join(c if c.isprintable() else "\ufffd" for c in said)
        if "No space left" in text or "quota" in text:
            return DeviceFullError(
                f"{name}: no space left on the device for {self._doing}",
                hint="free some space on the device, or set its work_dir to another disk",
            )
        return PushError(f"{name}: cannot write {self._doing} on the device: {text or code}")


def _first_line(file: Upload, end: int, mode: str, frame: str, hashing: str) -> bytes:
    """What ``serve.sh`` reads before the bytes of a file."""
    parts = ["put", str(file.offset), str(end), mode, frame, hashing, _coded(file.remote)]
    place = file.place
    if place is not None:
        parts += [place.sha256, "x" if place.executable else "-", _coded(place.path)]
    else:
        parts += ["-", "-", "-"]
    return " ".join(parts).encode() + b"\n"


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
