"""One run of ``device_agents/shell/serve.sh`` on the device, and how to speak with it.

Files follow each other without a wait, in the link's own packets: neither an sftp server nor an
answer per block or file is needed. The device hashes a file as it writes it.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import paramiko

from harness.errors import (
    AgentTimeoutError,
    DeviceFullError,
    LinkLostError,
    ProtocolError,
    PushError,
    TransportError,
)
from harness.transports.gain import Gain
from harness.transports.lines import MOST_NOISE, Tail, printable
from harness.transports.scripts import script
from harness.transports.ssh_process import end, read_stderr
from harness.transports.ssh_requests import BLOCK, blocks, coded, first_line, frames
from harness.transports.transport import MAX_OUTPUT, Completed, Upload

#: Seconds in which the device must take more of a file, or say how it ended.
STALL_TIMEOUT = 120

#: Room that a packet's header takes of the largest packet that the server allows.
_HEADER = 64

#: Seconds in which the device must have ended a script.
_STOP_TIMEOUT = 10

#: Below this many bytes nothing is gained by packing.
_TOO_SMALL = 1 << 16

#: What OpenSSH's server lets a client send ahead of what the command has read; from there on
#: the link and the device set the pace, and the rest of so many bytes tells it.
_AHEAD = 4 << 20
_PROBE = 8 << 20

SERVE = ("sh", "-c", script("serve.sh"), "serve.sh")


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
        #: Whether both ends agree that nothing is going on; else it is of no use any more.
        self.idle = True
        self._progress: Callable[[int], None] = lambda _count: None
        self._tail = Tail(partial(read_stderr, channel))
        self._heard = bytearray()
        self._can: list[bytes] = []
        self._unanswered: list[Upload] = []
        self._placed: set[str] = set()
        self._sent, self._doing, self._mark = 0, "", ""

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
            self._wait_ready()
        except PushError:
            return False
        return True

    def many(self) -> bool:
        """Whether it takes more than one file and goes on; waits until it listens."""
        self._channel.settimeout(STALL_TIMEOUT)
        self._wait_ready()
        return self._can[0] == b"many"

    def _wait_ready(self) -> None:
        while not self._can:
            words = self._answer(b"ready")[1:]
            # A login shell may be "ready" for other things.
            if words[:1] in ([b"many"], [b"one"]):
                self._can = words

    # -- what stays ------------------------------------------------------------------------

    def stay(self, argv: Sequence[str]) -> None:
        """Run ``sh -c TEXT NAME ...`` in this very shell; ``read_line`` gives what it says."""
        self._say("stay", *map(coded, argv[2:]))

    def read_line(self, timeout: float) -> bytes:
        """The next line; empty at the end. Raises ``TimeoutError``, ``LinkLostError``."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._heard:
            self._wait_until(deadline)
            if len(self._heard) > MOST_NOISE or not self._received():
                break
        line, ended, self._heard = self._heard.partition(b"\n")
        if not line and not ended and self._cut():
            raise LinkLostError(f"{self._wire.name}: the link was cut")
        return bytes(line + ended)

    def send(self, data: bytes) -> None:
        """Lines for what stays; raises ``LinkLostError``."""
        try:
            self._channel.settimeout(STALL_TIMEOUT)
            self._channel.sendall(data)
        except (OSError, EOFError, paramiko.SSHException):
            raise LinkLostError(f"{self._wire.name}: nobody reads the request") from None

    def wait(self, timeout: float) -> int | None:
        """The exit code; negative where it ended with the link or with ``close``."""
        if self._channel.status_event.wait(timeout) or self._channel.closed:
            return int(self._channel.exit_status)
        return None

    def stderr_tail(self) -> str:
        """The last of what it wrote to stderr."""
        return self._tail.text()

    # -- scripts ---------------------------------------------------------------------------

    def run(self, argv: Sequence[str], timeout: float) -> Completed:
        """Run one script; raises ``TimeoutError``, ``LinkLostError``, ``ProtocolError``.

        A script that takes too long, or says too much, is ended.
        """
        mark = secrets.token_hex(12)
        self.idle, self._sent, self._doing = False, 0, ""
        self._say("run", mark, *map(coded, argv[2:]))
        begin, finish = (b"\n%s %s\n" % (mark.encode(), word) for word in (b"begin", b"end"))
        deadline = time.monotonic() + timeout
        try:
            while not self._heard.endswith(finish):
                if len(self._heard) > MAX_OUTPUT:
                    raise ProtocolError(
                        f"{self._wire.name}: {argv[3]} printed more than {MAX_OUTPUT:,} bytes"
                    )
                self._wait_until(deadline)
                self._hear()
        except (TimeoutError, ProtocolError):
            self._stop(mark, finish)
            raise
        _, begun, said = self._heard[: -len(finish)].partition(begin)
        self._heard = bytearray()
        found = re.search(rb"\n%s ([0-9]{1,3})\n" % mark.encode(), said)
        if not begun or found is None:
            raise ProtocolError(f"{self._wire.name}: {argv[3]} answered nonsense")
        self._over(mark)
        return Completed(int(found[1]), bytes(said[: found.start()]), bytes(said[found.end() :]))

    def _stop(self, mark: str, finish: bytes) -> None:
        """End the script; where that does not go well, the shell is not idle."""
        deadline = time.monotonic() + _STOP_TIMEOUT
        try:
            self._say("stop", mark)
            while not self._heard.endswith(finish):
                del self._heard[: -len(finish)]
                self._wait_until(deadline)
                self._hear()
            self._over(mark)
        except (TimeoutError, TransportError):
            return
        self._heard = bytearray()

    def _over(self, mark: str) -> None:
        self._say("over", mark)
        self.idle = True

    def _say(self, *words: str) -> None:
        try:
            self._channel.settimeout(STALL_TIMEOUT)
            self._channel.sendall(" ".join(words).encode() + b"\n")
        except TimeoutError:
            raise self._stalled() from None
        except (OSError, EOFError, paramiko.SSHException):
            raise self._ended() from None

    def _wait_until(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._channel.settimeout(left)

    # -- files -----------------------------------------------------------------------------

    def put(self, files: Sequence[Upload], progress: Callable[[int], None]) -> set[str]:
        """Send the files; those that the device has verified and moved to their places."""
        self.idle = False
        self._progress, self._placed, self._unanswered = progress, set(), []
        self._mark = secrets.token_hex(12)
        self._channel.settimeout(STALL_TIMEOUT)
        for file in files:
            self._send(file)
        while self._unanswered:
            self._settle()
        self.idle = self.many()
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
        """Hear what became of the first of the files that were sent."""
        word, *rest = self._answer(b"placed", b"done", b"wrong", b"failed")
        file = self._unanswered.pop(0)
        if word == b"placed":
            self._placed.add(file.remote)
        if word == b"failed":
            # It passes over all that is under way, up to this line.
            self._say(f"\nresync {self._mark}")
            self.idle = self.many()
            raise self._failure(file.local.name[:16], b" ".join(rest).decode("utf-8", "replace"))

    def _refused(self) -> bool:
        return re.search(rb"^failed .*\n", self._heard, re.MULTILINE) is not None

    def _stream(self, file: Upload, end: int, mode: str) -> None:
        """Send the file's bytes up to ``end``."""
        self._sent, self._doing = 0, file.local.name[:16]
        begun: tuple[int, float] | None = None
        largest = self._channel.out_max_packet_size - _HEADER
        framed = self.many()
        parts = blocks(file, end, mode, self._told)
        self._unanswered.append(file)
        try:
            frame = "frames" if framed else "rest"
            line = first_line(self._mark, file, end, mode, frame, self._wire.hashing)
            self._channel.sendall(line)
            for data in frames(parts, end - file.offset, mode) if framed else parts:
                if self._channel.closed:
                    raise OSError
                if self._channel.recv_ready() and self._received() and self._refused():
                    while True:
                        self._settle()
                for at in range(0, len(data), largest):
                    self._channel.sendall(data[at : at + largest])
                self._wire.count(len(data))
                if begun is None and self._sent >= _AHEAD:
                    begun = self._sent, time.monotonic()
            if begun and mode == "plain" and self._sent >= _PROBE - BLOCK:
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
            if noise + len(self._heard) > MOST_NOISE:
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

    def _ended(self) -> LinkLostError | PushError:
        """Why the receiver ended before it was told to."""
        name = self._wire.name
        if self._cut():
            where = f" {self._sent:,} bytes into {self._doing}" if self._doing else ""
            return LinkLostError(f"{name}: the link was cut{where}")
        if self._can:
            return LinkLostError(f"{name}: the shell on the device has ended")
        said = self._tail.text() or f"exit code {self._channel.exit_status}"
        return PushError(f"{name}: no shell serves files there: {printable(said)}")

    def _failure(self, what: str, said: str) -> PushError | DeviceFullError:
        name = self._wire.name
        if "No space left" in said or "quota" in said:
            return DeviceFullError(
                f"{name}: no space left on the device for {what}",
                hint="free some space on the device, or set its work_dir to another disk",
            )
        return PushError(f"{name}: cannot write {what} on the device: {printable(said)}")


class SshStay:
    """What stays in a shell, as a ``Process``; its end is that of the shell."""

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
