"""Android devices of an adb server: which there are, and the link to one of them."""

from __future__ import annotations

import contextlib
import math
import re
import time
from collections.abc import Sequence

from harness.adb_protocol import MAX_FIRST_PAYLOAD
from harness.errors import (
    AuthenticationError,
    LinkLostError,
    TransportError,
    UnreachableError,
)
from harness.transports.adb_server import (
    AdbServer,
    AttachedDevice,
    ServerAddress,
    server_address,
)
from harness.transports.adb_stream import Refusal, Stream, check_service, printable

#: Seconds that a device gets to become ready: after it was connected anew, or is still starting.
READY_TIMEOUT = 10.0

#: Seconds that one gets to come back which was there before: as long as many need to boot.
RETURN_TIMEOUT = 60.0

#: Seconds that a server gets to connect a device by TCP, before it is asked anew.
CONNECT_TIMEOUT = 3.0

#: States out of which a device comes by itself.
_ON_THE_WAY = ("connecting", "authorizing", "offline", "absent", "unknown")


def discover(server: ServerAddress | None = None) -> tuple[AttachedDevice, ...]:
    """Every device of the server (default: the one that ``adb`` uses), in whatever state.

    Raises ``UnreachableError`` where no server runs.
    """
    return AdbServer(server or server_address()).devices()


def listed(devices: Sequence[AttachedDevice]) -> str:
    """Serials and states for a message."""
    names = [f"{printable(d.serial.encode())} ({printable(d.state.encode())})" for d in devices]
    return ", ".join(names) or "none"


def tcp_address(serial: str) -> tuple[str, int] | None:
    """Host and port of a serial that is an address."""
    found = re.fullmatch(r"(\[[^]]+\]|[^:\s]+):(\d{1,5})", serial)
    return (found[1].strip("[]"), int(found[2])) if found else None


class ServerLink:
    """One device of a running server, found again when it went away. See ``Link``."""

    #: A server does not tell what the device takes. One byte is the null character at its end.
    longest_service = MAX_FIRST_PAYLOAD - 1

    def __init__(self, name: str, serial: str | None, address: ServerAddress) -> None:
        self._name = name
        self._asked = serial
        self._serial = serial or ""
        self._server = AdbServer(address)
        self._was_there = False

    def open(self) -> frozenset[str]:
        """See ``Link``."""
        try:
            self._serial = self._ready()
            self._was_there = True
            features = self._server.ask(f"host-serial:{self._serial}:features")
        except Refusal as refusal:
            raise self.refused(refusal) from None
        except (EOFError, OSError):
            raise LinkLostError(f"{self._name}: the adb server broke the link off") from None
        return frozenset(features.strip().split(","))

    def stream(self, service: bytes) -> Stream:
        """See ``Link``."""
        if not self._was_there:
            raise EOFError
        check_service(self._name, service, self.longest_service)
        try:
            return self._server.stream(self._serial, service)
        except UnreachableError as error:
            raise LinkLostError(f"{self._name}: {error.message}", hint=error.hint) from None

    def close(self) -> None:
        """See ``Link``: every stream has a connection of its own."""

    def condition(self) -> str:
        """See ``Link``."""
        with contextlib.suppress(TransportError, Refusal, OSError, EOFError):
            for device in self._server.devices():
                if device.serial == self._serial:
                    return (
                        "" if device.ready else f"the device is {printable(device.state.encode())}"
                    )
            return "the device is gone"
        return "the adb server is gone"

    def refused(self, refusal: Refusal) -> TransportError:
        """What a server says of a device that it will not connect."""
        text = str(refusal)
        if "unauthorized" in text:
            return self._unauthorized()
        if "permissions" in text:
            return self._no_permissions(text)
        return LinkLostError(f"{self._name}: the adb server cannot reach the device: {text}")

    def find(self) -> AttachedDevice | None:
        """The device, if it is attached; raises ``TransportError`` if it could be several."""
        devices = self._server.devices()
        if self._asked:
            return next((d for d in devices if d.serial == self._asked), None)
        if len(devices) > 1:
            raise TransportError(
                f"{self._name}: the adb server at {self._server.address} has several devices: "
                f"{listed(devices)}",
                hint="set `serial` of this device to one of them",
            )
        return devices[0] if devices else None

    def _ready(self) -> str:
        """Wait until the device takes commands; returns its serial."""
        now = time.monotonic()
        deadline = now + (RETURN_TIMEOUT if self._was_there else READY_TIMEOUT)
        mend_at = now
        said, hopeless = "", False
        while True:
            device = self.find()
            state = device.state if device else "absent"
            if device and device.ready:
                return device.serial
            if state.startswith("unauthorized"):
                raise self._unauthorized()
            if state.startswith("no permissions"):
                raise self._no_permissions(state)
            if not state.startswith(_ON_THE_WAY):
                raise UnreachableError(
                    f"{self._name}: the device is in the state {printable(state.encode())}",
                    hint="start Android on it: adb reboot, or its power key",
                )
            if time.monotonic() >= mend_at and state in ("offline", "absent"):
                # A USB device is woken once: again would begin its waking anew.
                address = tcp_address(device.serial if device else self._asked or "")
                said = self._mend(device)
                mend_at = time.monotonic() + (1 if address else math.inf)
                hopeless = state == "absent" and not self._was_there
                hopeless = hopeless and "connected to" not in said
                continue
            if hopeless or time.monotonic() > deadline:
                raise self._not_there(state, said)
            time.sleep(0.25)

    def _mend(self, device: AttachedDevice | None) -> str:
        """Have the server connect this device anew, and no other; returns what it says."""
        serial = device.serial if device else self._asked or ""
        with contextlib.suppress(Refusal):
            if tcp_address(serial):
                if device:
                    with contextlib.suppress(Refusal):
                        self._server.ask(f"host:disconnect:{serial}")
                # A device that goes down while it is greeted keeps the server waiting for long.
                with contextlib.suppress(UnreachableError):
                    said = self._server.ask(f"host:connect:{serial}", CONNECT_TIMEOUT)
                    return printable(said.encode())
            elif device:
                self._server.ask(f"host-serial:{serial}:reconnect")
        return ""

    def _not_there(self, state: str, said: str) -> UnreachableError:
        reason = f" ({said})" if said else ""
        if state != "absent":
            return UnreachableError(
                f"{self._name}: the device {self._serial} is {printable(state.encode())} and was "
                f"not reached anew{reason}",
                hint="plug it in again, or switch its USB debugging off and on",
            )
        which = f"no device {self._asked}" if self._asked else "no device"
        return UnreachableError(
            f"{self._name}: the adb server at {self._server.address} has {which}{reason}; it has: "
            f"{listed(self._server.devices())}",
            hint="plug it in and allow USB debugging on it; `adb devices -l` shows what is there",
        )

    def _unauthorized(self) -> AuthenticationError:
        return AuthenticationError(
            f"{self._name}: the device {self._serial or self._asked or ''} does not know this "
            "machine's adb key".replace("  ", " "),
            hint="unlock the phone and accept the key that it shows (always allow)",
        )

    def _no_permissions(self, text: str) -> TransportError:
        return TransportError(
            f"{self._name}: the adb server may not open the USB device: {printable(text.encode())}",
            hint="install the udev rules (Debian: apt install android-sdk-platform-tools-common), "
            "add the server's user to the group plugdev, and plug the device in again",
        )
