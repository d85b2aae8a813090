"""Android devices over adb: by the running server, or by a direct connection."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from harness.adb_protocol import STDERR, STDOUT
from harness.domain import Device
from harness.errors import (
    AgentTimeoutError,
    DeviceFullError,
    HarnessError,
    LinkLostError,
    ProtocolError,
    PullError,
    PushError,
)
from harness.transports.adb_command import AdbProcess, Command, feed, start_command
from harness.transports.adb_devices import ServerLink, tcp_address
from harness.transports.adb_server import is_loopback, server_address
from harness.transports.adb_stream import Refusal
from harness.transports.adb_sync import Sync, TooLargeError
from harness.transports.transport import MAX_OUTPUT, Completed, Upload

if TYPE_CHECKING:
    from harness.transports.adb_direct import DirectLink

#: Where adbd listens after ``adb tcpip 5555``.
DEFAULT_PORT = 5555

#: What a device says when nothing more fits.
_FULL = ("No space left", "Disk quota exceeded", "File too large")


class AdbTransport:
    """A device that runs Android's adbd.

    With a ``host`` in the profile connected directly, else by the adb server.
    """

    kind_is_simulated: ClassVar[bool] = False
    #: adbd writes files anew, and removes what it got of one when the link is cut.
    resumes: ClassVar[bool] = False

    def __init__(self, device: Device) -> None:
        self._device = device
        self._features: frozenset[str] = frozenset()
        self._sync: Sync | None = None

    @cached_property
    def _link(self) -> ServerLink | DirectLink:
        name, link = self._device.name, self._device.link
        if not link.get("host"):
            server = server_address(link.get("adb_server"))
            return ServerLink(name, str(link.get("serial") or "") or None, server)
        from harness.transports.adb_direct import DirectLink

        return DirectLink(name, *self._direct, link.get("adb_key"))

    @property
    def _direct(self) -> tuple[str, int]:
        link = self._device.link
        return str(link["host"]), int(link.get("port") or DEFAULT_PORT)

    @cached_property
    def _serial(self) -> str:
        """The server's name of the device; empty where that is not known."""
        assert isinstance(self._link, ServerLink)
        if self._device.link.get("serial"):
            return str(self._device.link["serial"])
        with contextlib.suppress(HarnessError):
            found = self._link.find()
            return found.serial if found else ""
        return ""

    @property
    def runs_on_host(self) -> bool:
        """Whether the device's processors may be this machine's.

        So they are behind a loopback address, and where a server of this machine calls it
        ``emulator-...``. A phone that is reached through a tunnel is taken for one as well: it is
        then measured alone, which costs time and no truth.
        """
        if self._device.link.get("host"):
            return is_loopback(self._direct[0])
        if not server_address(self._device.link.get("adb_server")).is_local:
            return False
        address = tcp_address(self._serial)
        return is_loopback(address[0]) if address else self._serial.startswith("emulator-")

    @property
    def address(self) -> str:
        """Serial, or host and port: the same whether by server or directly."""
        if self._device.link.get("host"):
            host, port = self._direct
            return f"adb:{host}" if host.startswith("usb") else f"adb:{host}:{port}"
        server = server_address(self._device.link.get("adb_server"))
        # A far server's loopback addresses and emulators are not ours.
        if server.is_local and self._serial:
            return f"adb:{self._serial}"
        return f"adb:{server}/{self._serial}"

    @property
    def python(self) -> str:
        """The profile's ``python``, else ``python3``."""
        return str(self._device.link.get("python") or "python3")

    @property
    def work_dir(self) -> str:
        """The profile's ``work_dir``, else a folder where adbd's user may run what it wrote."""
        return str(self._device.link.get("work_dir") or "/data/local/tmp/edge-harness")

    def open(self) -> None:
        """See ``Transport``."""
        self._features = self._link.open()

    def close(self) -> None:
        """See ``Transport``."""
        if self._sync is not None:
            self._sync.close()
            self._sync = None
        self._link.close()

    @contextlib.contextmanager
    def _translated(self, doing: str = "") -> Iterator[None]:
        """Failures of the link as the harness's errors."""
        name = self._device.name
        try:
            yield
        except Refusal as refusal:
            raise self._link.refused(refusal) from None
        except ProtocolError as error:
            raise ProtocolError(f"{name}: {error.message}") from None
        except TimeoutError:
            raise LinkLostError(f"{name}: the device gives no answer{doing}") from None
        except (OSError, EOFError) as error:
            reason = self._link.condition() or str(error)
            raise LinkLostError(
                f"{name}: the link was cut{doing}{f': {reason}' if reason else ''}"
            ) from None

    def _start(self, argv: Sequence[str], input_bytes: int | None) -> Command:
        with self._translated():
            return start_command(self._link, self._features, argv, input_bytes)

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> Completed:
        """See ``Transport``. adbd gives a death by signal as 128 + signal."""
        out = {STDOUT: bytearray(), STDERR: bytearray()}
        deadline = time.monotonic() + timeout
        command = self._start(argv, len(stdin))
        feeder = feed(command, stdin)
        try:
            with self._translated():
                while True:
                    left = deadline - time.monotonic()
                    packet = command.read(left) if left > 0 else None
                    if packet is None:
                        raise AgentTimeoutError(
                            f"{self._device.name}: {argv[0]} did not end within {timeout:g} s"
                        )
                    kind, data = packet
                    if kind not in out:
                        break
                    out[kind] += data[: MAX_OUTPUT - len(out[kind])]
        finally:
            command.close()
            feeder.join(5)
        return Completed(data[0], bytes(out[STDOUT]), bytes(out[STDERR]))

    def _files(self) -> Sync:
        if self._sync is None:
            self._sync = Sync(self._link.stream(b"sync:"))
        return self._sync

    def _end_files(self) -> None:
        if self._sync is not None:
            self._sync.close()
            self._sync = None

    def put(self, files: Sequence[Upload], progress: Callable[[int], None]) -> None:
        """See ``Transport``."""
        for file in files:
            sent = 0

            def report(count: int) -> None:
                nonlocal sent
                sent += count
                progress(count)

            try:
                self._push(file, report)
            except LinkLostError as error:
                raise LinkLostError(
                    f"{error.message} ({sent:,} bytes into {file.local.name[:16]})"
                ) from None

    def _push(self, file: Upload, report: Callable[[int], None]) -> None:
        name = self._device.name
        try:
            with self._translated():
                sync = self._files()
                try:
                    sync.push(file.local, file.remote, report)
                except Refusal as refusal:
                    if any(word in str(refusal) for word in _FULL):
                        raise DeviceFullError(
                            f"{name}: no space left for {file.local.name} "
                            f"({file.local.stat().st_size:,} bytes)",
                            hint="free some space on the device, or set its work_dir to another "
                            "disk",
                        ) from None
                    raise PushError(f"{name}: cannot write {file.remote}: {refusal}") from None
        except BaseException:
            self._end_files()
            raise

    def get(self, remote: str, local: Path, *, limit: int) -> int:
        """See ``Transport``."""
        name = self._device.name
        try:
            with self._translated():
                sync = self._files()
                try:
                    return sync.pull(remote, local, limit)
                except TooLargeError:
                    raise PullError(
                        f"{name}: {remote} has more than the {limit:,} bytes that were expected"
                    ) from None
                except Refusal as refusal:
                    raise PullError(f"{name}: cannot read {remote}: {refusal}") from None
        except BaseException:
            self._end_files()
            raise

    def start(self, argv: Sequence[str]) -> AdbProcess:
        """See ``Transport``."""
        return AdbProcess(self._start(argv, None), self._device.name)

    def stay(self, argv: Sequence[str]) -> AdbProcess:
        """See ``Transport``."""
        return self.start(argv)
