"""Files to a device over ssh: streams into ``device_agents/shell/receive.sh``.

A stream of the link's own packets needs neither an sftp server on the device nor an answer per
block; the device hashes the file as it writes it. What a file gains by gzip is tried on a few
of its blocks, and held against the rate of the link.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import paramiko

from harness.errors import DeviceFullError, LinkLostError, PushError
from harness.transports.lines import Tail
from harness.transports.scripts import script
from harness.transports.ssh_process import read_stderr
from harness.transports.transport import Upload

#: Files below this many bytes travel beside each other: a channel's round trips cost more.
SMALL = 1 << 20

#: Channels at a time; sshd allows 10 of one connection unless told otherwise.
CHANNELS = 4

#: Seconds in which the device must take more of a file, or say how it ended.
STALL_TIMEOUT = 120

#: Room that a packet's header takes of the largest packet that the server allows.
_HEADER = 64

_BLOCK = 1 << 18
_SAMPLE = 1 << 16
_SAMPLES = 4

#: Bytes per second that a small board is trusted to unpack.
_UNPACK_RATE = 50e6

#: Below this many bytes nothing is gained by packing, and no rate can be told.
_TOO_SMALL = 1 << 14
_ENOUGH_FOR_A_RATE = 1 << 20

_NO_GZIP = 4


class NoMoreChannelsError(LinkLostError):
    """The server allows no further channel at this time; the link lives."""


class SshPush:
    """Copies files over one link; ``open_command(argv)`` starts a command on it."""

    def __init__(
        self,
        name: str,
        open_command: Callable[[Sequence[str]], paramiko.Channel],
        beat: Callable[[], None],
    ) -> None:
        self._name = name
        self._open = open_command
        self._beat = beat
        self._told = threading.Lock()
        self._gzip = True
        #: Bytes per second that the link was last seen to carry.
        self.rate: float | None = None
        #: Bytes of files as they went over the link, packed or not.
        self.wire_bytes = 0

    def put(self, files: Sequence[Upload], progress: Callable[[int], None]) -> None:
        """See ``Transport``."""

        def tell(count: int) -> None:
            with self._told:
                progress(count)

        sizes = {id(file): file.local.stat().st_size for file in files}
        small = [file for file in files if sizes[id(file)] < SMALL]
        large = [file for file in files if sizes[id(file)] >= SMALL]
        if len(small) > 1:
            with ThreadPoolExecutor(min(CHANNELS, len(small)), "push") as pool:
                tasks = [(file, pool.submit(self._send, file, tell)) for file in small]
            small = []
            for file, task in tasks:
                error = task.exception()
                if isinstance(error, NoMoreChannelsError):
                    small.append(file)
                elif error is not None:
                    raise error
        for file in small:
            self._send(file, tell)
        for file in large:
            self._send(file, tell)

    def _send(self, file: Upload, tell: Callable[[int], None]) -> None:
        size = file.local.stat().st_size
        left = size - file.offset
        gain = _Gain(file.local, file.offset) if self._gzip and left >= _TOO_SMALL else None
        if gain is not None and gain.promises and self.rate is None and left >= 4 * SMALL:
            # Nothing is known of the link yet: a part of the file tells.
            self._stream(file, file.offset + SMALL, "plain", tell)
            file = replace(file, offset=file.offset + SMALL)
        mode = "gzip" if gain is not None and gain.pays(self.rate) else "plain"
        if self._stream(file, size, mode, tell) == _NO_GZIP:
            self._gzip = False
            self._stream(file, size, "plain", tell)

    def _stream(self, file: Upload, end: int, mode: str, tell: Callable[[int], None]) -> int:
        """Send the file's bytes up to ``end``; the exit code, 0 or ``_NO_GZIP``."""
        begun = time.monotonic()
        channel = self._open(
            ["sh", "-c", script("receive.sh"), "receive.sh", file.remote, str(file.offset),
             str(end), mode]
        )  # fmt: skip
        channel.settimeout(STALL_TIMEOUT)
        tail = Tail(partial(read_stderr, channel))
        started = time.monotonic()
        sent = 0

        def told(count: int) -> None:
            nonlocal sent
            sent += count
            tell(count)

        try:
            self._feed(channel, _blocks(file, end, mode, told))
            done = channel.status_event.wait(STALL_TIMEOUT)
        except TimeoutError:
            done = False
        except (OSError, EOFError, paramiko.SSHException):
            done = channel.status_event.wait(1)
            if not done or channel.exit_status < 0:
                raise self._cut(file, sent) from None
        finally:
            channel.close()
        if not done:
            raise LinkLostError(
                f"{self._name}: the device took no more of {file.local.name[:16]} for "
                f"{STALL_TIMEOUT} s"
            )
        code = channel.exit_status
        if code == 0:
            if mode == "plain" and sent >= _ENOUGH_FOR_A_RATE:
                round_trip = (started - begun) / 2
                self.rate = sent / max(time.monotonic() - started - round_trip, 1e-3)
            return 0
        if code < 0:
            raise self._cut(file, sent)
        if code == _NO_GZIP and mode == "gzip":
            tell(-sent)
            return code
        said = " ".join(tail.text().split())[-300:]
        text = "".join(c if c.isprintable() else "\ufffd" for c in said)
        if "No space left" in text or "quota" in text:
            raise DeviceFullError(
                f"{self._name}: no space left for {file.local.name[:16]}",
                hint="free some space on the device, or set its work_dir to another disk",
            )
        raise PushError(f"{self._name}: cannot write {file.remote}: {text or code}")

    def _cut(self, file: Upload, sent: int) -> LinkLostError:
        return LinkLostError(
            f"{self._name}: the link was cut {sent:,} bytes into {file.local.name[:16]}"
        )

    def _feed(self, channel: paramiko.Channel, blocks: Iterator[bytes]) -> None:
        """Everything to the command's stdin, in packets as large as the server allows."""
        largest = channel.out_max_packet_size - _HEADER
        for block in blocks:
            for at in range(0, len(block), largest):
                channel.sendall(block[at : at + largest])
            self._beat()
            self.wire_bytes += len(block)
            if channel.status_event.is_set():
                return  # it ended early, and says why
        channel.shutdown_write()


def _blocks(file: Upload, end: int, mode: str, tell: Callable[[int], None]) -> Iterator[bytes]:
    pack = zlib.compressobj(1, zlib.DEFLATED, 31) if mode == "gzip" else None
    try:
        with open(file.local, "rb") as source:
            source.seek(file.offset)
            left = end - file.offset
            while left and (block := source.read(min(_BLOCK, left))):
                left -= len(block)
                data = pack.compress(block) if pack else block
                if data:
                    yield data
                tell(len(block))
    except OSError as error:
        if isinstance(error, TimeoutError):
            raise
        raise PushError(f"cannot read {file.local}: {error.strerror}") from None
    if pack:
        yield pack.flush()


class _Gain:
    """What gzip makes of a few blocks of a file, and how fast."""

    def __init__(self, path: Path, offset: int) -> None:
        size = path.stat().st_size - offset
        taken = packed = 0
        begun = time.perf_counter()
        with open(path, "rb") as file:
            for index in range(_SAMPLES):
                file.seek(offset + max(0, size - _SAMPLE) * index // (_SAMPLES - 1))
                block = file.read(_SAMPLE)
                taken += len(block)
                packed += len(zlib.compress(block, 1))
        self._ratio = packed / max(taken, 1)
        self._speed = taken / max(time.perf_counter() - begun, 1e-6)

    @property
    def promises(self) -> bool:
        """Whether it gets smaller at all."""
        return self._ratio < 0.9

    def pays(self, rate: float | None) -> bool:
        """Whether packing, sending and unpacking beside each other end sooner than sending."""
        if not self.promises:
            return False
        if rate is None:
            return self._ratio < 0.7
        packed = max(self._ratio / rate, 1 / self._speed, 1 / _UNPACK_RATE)
        return packed < 0.9 / rate
