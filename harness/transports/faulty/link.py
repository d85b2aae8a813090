"""The link to a device in trouble."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from harness.domain import Device
from harness.domain.fault import Fault, FaultKind
from harness.errors import DeviceFullError, HostKeyError, LinkLostError, UnreachableError
from harness.simulation.faults import FaultPlan
from harness.transports.faulty.ended import EndedProcess
from harness.transports.faulty.lease import LeaseProcess
from harness.transports.faulty.process import FaultyProcess
from harness.transports.simulated import SimulatedTransport
from harness.transports.transport import Completed, Process, Upload

#: What ``guard.sh`` answers once the lease is another's.
_REFUSED = 76

_CHUNK = 1 << 16

#: Faults at an agent's start after which there still is a link.
_STARTED = (FaultKind.CRASH, FaultKind.KILLED, FaultKind.HANG, FaultKind.GARBAGE,
            FaultKind.OVERSIZED, FaultKind.DISCONNECT, FaultKind.REBOOT)  # fmt: skip


class FaultyTransport:
    """A link to a modelled device, see ``Transport``, that fails where the profile says.

    The device's own folder is empty when a session begins: what is pushed, and so what may go
    wrong with it, is the same every time. The device's lock keeps the folder to one session.
    """

    kind_is_simulated: ClassVar[bool] = True
    resumes: ClassVar[bool] = True

    def __init__(self, device: Device) -> None:
        self._device = device
        self._inner = SimulatedTransport(device)
        self._plan = FaultPlan(device.name, device.faults)
        #: Whether others may have this device, so that a session needs a lease.
        self.has_lease = self._plan.uses(FaultKind.BUSY, FaultKind.STOLEN)
        #: Whether it tells of a battery, so that it must be looked at before a trial.
        self.tells_state = self._plan.uses(FaultKind.BATTERY) or self._inner.tells_state
        self._battery: float | None = None
        self._emptied = self._is_cut = self._stolen = False
        self._down = 0.0
        self._busy: int | None = 0
        self._place, self._token = secrets.token_hex(8), 0
        self._lease: LeaseProcess | None = None

    @property
    def struck(self) -> frozenset[int]:
        """Which faults of the device have struck over this link, by position in ``faults``."""
        return self._plan.struck

    def expect(self, request: Mapping[str, Any]) -> None:
        """See ``SimulatedTransport``."""
        self._inner.expect(request)

    def rest(self, seconds: float) -> None:
        """See ``SimulatedTransport``."""
        self._inner.rest(seconds)

    def waited_s(self) -> float:
        """See ``SimulatedTransport``."""
        return self._inner.waited_s()

    @property
    def runs_on_host(self) -> bool:
        """See ``Transport``."""
        return self._inner.runs_on_host

    @property
    def address(self) -> str:
        """See ``Transport``."""
        return self._inner.address

    @property
    def python(self) -> str:
        """See ``Transport``."""
        return self._inner.python

    @property
    def work_dir(self) -> str:
        """A folder of its own, beside that of the device without faults."""
        return self._inner.work_dir + "-faults"

    # -- the link --------------------------------------------------------------------------

    def open(self) -> None:
        """See ``Transport``."""
        name = self._device.name
        if self._down > 0:
            self._down -= 1
            raise UnreachableError(
                f"{name}: no answer: the device is starting",
                hint="is it switched on, and in this network?",
            )
        for fault in self._plan.reached("connect"):
            if fault.kind is FaultKind.REFUSED:
                raise UnreachableError(
                    f"{name}: no answer: Connection refused",
                    hint="is it switched on, in this network, and does its server run?",
                )
            if fault.kind is FaultKind.HOST_KEY:
                raise HostKeyError(
                    f"{name}: the device's host key has CHANGED",
                    hint="someone may be in between, or the device was set up anew",
                )
            if fault.kind is FaultKind.BATTERY:
                self._battery = fault.settings["percent"]
            elif fault.kind is FaultKind.BUSY:
                self._busy = fault.times or None
        self._is_cut = self._stolen = False
        if not self._emptied:
            shutil.rmtree(self.work_dir, ignore_errors=True)
            self._emptied = True

    def close(self) -> None:
        """See ``Transport``."""
        if self._lease is not None:
            self._lease.cut()

    def _check(self, fault: Fault | None = None) -> None:
        """Cut the link if a fault says so; raises ``LinkLostError`` where it is cut."""
        if fault is not None:
            self._is_cut = True
            if fault.kind is FaultKind.REBOOT:
                self._down = fault.settings.get("connects", 1)
            if self._lease is not None:
                self._lease.cut()
        if self._is_cut:
            raise LinkLostError(f"{self._device.name}: the link was cut")

    # -- commands and files ----------------------------------------------------------------

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> Completed:
        """See ``Transport``; what it says of its battery is what the fault says."""
        self._check()
        if _script(argv) == "state.sh":
            told = self._inner.run(argv, stdin=stdin, timeout=timeout)
            if self._battery is None:
                return told
            kept = [
                line
                for line in told.stdout.decode().splitlines()
                if not line.startswith(("battery.", "power."))
            ]
            kept += [f"battery.level {self._battery:.0f}", "battery.status 3", "power.usb 0"]
            return Completed(0, "".join(f"{line}\n" for line in kept).encode(), b"")
        return self._inner.run(argv, stdin=stdin, timeout=timeout)

    def put(self, files: Sequence[Upload], progress: Callable[[int], None]) -> None:
        """See ``Transport``."""
        self._check()
        faults = {fault.kind: fault for fault in self._plan.reached("push")}
        if slow := faults.get(FaultKind.SLOW):
            progress = _slowly(slow.settings["rate"], progress)
        for kind in (FaultKind.DISCONNECT, FaultKind.REBOOT):
            if fault := faults.get(kind):
                _part(files, fault.byte, progress)
                self._check(fault)
        if FaultKind.FULL in faults:
            _part(files, files[0].local.stat().st_size // 2, progress)
            folder = os.path.dirname(files[0].remote)
            raise DeviceFullError(
                f"{self._device.name}: no space left for {files[0].local.name} in {folder}",
                hint="free some space on the device, or set its work_dir to another disk",
            )
        self._inner.put(files, progress)
        if FaultKind.CORRUPTED in faults:
            damage(Path(files[0].remote))

    def get(self, remote: str, local: Path, *, limit: int) -> int:
        """See ``Transport``."""
        self._check()
        return self._inner.get(remote, local, limit=limit)

    # -- processes -------------------------------------------------------------------------

    def start(self, argv: Sequence[str]) -> Process:
        """See ``Transport``."""
        self._check()
        if _script(argv) == "governor":
            return self._inner.start(argv)
        if _script(argv) not in ("", "guard.sh"):
            return EndedProcess(127, "sh: not found")
        faults = self._plan.reached("start")
        kinds = {fault.kind for fault in faults}
        if FaultKind.STOLEN in kinds:
            self._steal()
        if self._stolen:
            return EndedProcess(_REFUSED, "the lease of this device has gone to another session")
        if FaultKind.MISSING in kinds:
            return EndedProcess(127, f"{self.python}: not found")
        return FaultyProcess(
            self._inner.start(argv),
            self._plan,
            self._device.simulation,
            [fault for fault in faults if fault.kind in _STARTED][:1],
            self._check,
            self._steal,
        )

    def stay(self, argv: Sequence[str]) -> Process:
        """See ``Transport``: the lease's process is the only one that stays."""
        self._check()
        if _script(argv) != "lease.sh":
            return EndedProcess(127, "sh: not found")
        self._token += 1
        self._lease = LeaseProcess(argv[4], self._place, self._token, self._busy)
        self._busy = 0
        return self._lease

    def _steal(self) -> None:
        self._stolen = True
        if self._lease is not None:
            self._lease.steal()


def _script(argv: Sequence[str]) -> str:
    """The name of the helper script that ``sh -c TEXT NAME ...`` runs, or nothing."""
    return argv[3] if len(argv) > 3 and argv[:2] == ["sh", "-c"] else ""


def _slowly(rate: float, progress: Callable[[int], None]) -> Callable[[int], None]:
    """A link of ``rate`` bytes per second: each report waits for its bytes."""

    def report(count: int) -> None:
        time.sleep(count / rate)
        progress(count)

    return report


def _part(files: Sequence[Upload], count: int, progress: Callable[[int], None]) -> None:
    """Copy the first ``count`` bytes of a push."""
    for file in files:
        with open(file.local, "rb") as source, open(file.remote, "ab") as target:
            source.seek(file.offset)
            target.truncate(file.offset)
            while count > 0 and (chunk := source.read(min(_CHUNK, count))):
                target.write(chunk)
                count -= len(chunk)
                progress(len(chunk))
        if count <= 0:
            return


def damage(file: Path) -> None:
    """Invert a bit in the middle, as a bad card would; of this device's file alone.

    Simulated devices share files by links, so the damaged one is another file.
    """
    with contextlib.suppress(FileNotFoundError):
        data = bytearray(file.read_bytes()) or bytearray(1)
        data[len(data) // 2] ^= 1
        damaged = file.with_name(f"{file.name}.damaged")
        damaged.write_bytes(data)
        os.replace(damaged, file)
