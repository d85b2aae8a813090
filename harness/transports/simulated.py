"""Devices that are not there: the real agent in this process, on a modelled clock.

The agent's own code serves every request. Its clock advances by what the cost model says
(``harness.simulation``), with seeded noise, and the inferences of a timed trial are not
really run; a sweep really runs the variant on this machine, so accuracies are true.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from harness.cache import cache_dir
from harness.domain import Device
from harness.transports.local import LocalTransport, copy_bounded
from harness.transports.modelled import DeviceBody, GovernorProcess, SimulatedProcess, files
from harness.transports.scripts import script
from harness.transports.transport import Completed, Process, Upload


class SimulatedTransport:
    """A link to a modelled device."""

    kind_is_simulated: ClassVar[bool] = True
    resumes: ClassVar[bool] = True

    def __init__(self, device: Device) -> None:
        self._device = device
        self._body = DeviceBody(device)

    @property
    def tells_state(self) -> bool:
        """Whether there is heat, a governor or a battery to look at before a trial."""
        return self._body.tells

    def expect(self, request: Mapping[str, Any]) -> None:
        """Be the device that this request will find: see ``DeviceBody``."""
        self._body.expect(request)

    def rest(self, seconds: float) -> None:
        """Wait, in modelled time."""
        self._body.rest(seconds)

    def waited_s(self) -> float:
        """The modelled seconds that were waited."""
        return self._body.waited_s

    @property
    def runs_on_host(self) -> bool:
        """Always: what is modelled still costs this machine's time."""
        return True

    @property
    def address(self) -> str:
        """One per profile."""
        return f"simulated:{self._device.name}"

    @property
    def python(self) -> str:
        """A name; nothing is started."""
        return "python3"

    @property
    def work_dir(self) -> str:
        """A folder of this machine's cache."""
        name = hashlib.sha256(self._device.name.encode()).hexdigest()[:16]
        return str(cache_dir("host", "simulated", name))

    def open(self) -> None:
        """Nothing to connect."""

    def close(self) -> None:
        """Nothing to close."""

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> Completed:
        """Our own helper scripts run here: they only touch the folder of simulated devices."""
        if argv[0] != "sh":
            return Completed(127, b"", f"{argv[0]}: a simulated device has no programs".encode())
        if argv[:3] == ["sh", "-c", script("store.sh")]:
            return files.answer(argv[4:])  # as the script would, without a process for it
        if argv[:3] == ["sh", "-c", script("state.sh")]:
            return Completed(0, self._body.state(), b"")
        return LocalTransport(self._device).run(argv, stdin=stdin, timeout=timeout)

    def put(self, uploads: Sequence[Upload], progress: Callable[[int], None]) -> None:
        """See ``Transport``."""
        copied = [file for file in uploads if not files.place(file, progress)]
        LocalTransport(self._device).put(copied, progress)

    def get(self, remote: str, local: Path, *, limit: int) -> int:
        """See ``Transport``."""
        return copy_bounded(remote, local, limit)

    def start(self, argv: Sequence[str]) -> Process:
        """See ``Transport``."""
        if argv[:3] == ["sh", "-c", script("governor.sh")]:
            return GovernorProcess(self._body, self._device.simulation, argv[4])
        return SimulatedProcess(self._device, self._body)

    def stay(self, argv: Sequence[str]) -> Process:
        """See ``Transport``."""
        return self.start(argv)
