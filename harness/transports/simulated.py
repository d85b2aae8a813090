"""Devices that are not there: the real agent in this process, on a modelled clock.

The agent's own code serves every request. Its clock advances by what the cost model says
(``harness.simulation``), with seeded noise, and the inferences of a timed trial are not
really run; a sweep really runs the variant on this machine, so accuracies are true.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from device_agents.python import agent
from harness.cache import cache_dir
from harness.domain import Device
from harness.errors import AgentTimeoutError
from harness.transports.local import LocalTransport, copy_bounded
from harness.transports.modelled import (
    MODELLED_ACTIONS,
    ModelledClock,
    ModelledRuntime,
    ModelledSystem,
    files,
)
from harness.transports.scripts import script
from harness.transports.transport import Completed, Upload


class SimulatedProcess:
    """The agent in a thread, with queues for its streams."""

    def __init__(self, device: Device) -> None:
        self._requests: queue.Queue[bytes] = queue.Queue(1)
        self._lines: queue.Queue[bytes] = queue.Queue(64)
        self._killed = threading.Event()
        self._seed = 0
        self._stderr = ""
        self._exit_code: int | None = None
        clock, system = ModelledClock(), ModelledSystem(device)
        self._thread = threading.Thread(
            target=self._serve, args=(device, clock, system), name=f"simulated-{device.name}",
            daemon=True,
        )  # fmt: skip
        self._thread.start()

    def _serve(self, device: Device, clock: ModelledClock, system: ModelledSystem) -> None:
        def find(_wanted: str | None) -> ModelledRuntime:
            return ModelledRuntime(device, clock, system, lambda: self._seed)

        code = 1
        try:
            with contextlib.suppress(BrokenPipeError):
                code = agent.serve(
                    self._read_request, self._write, clock, system,
                    find=find, actions=MODELLED_ACTIONS,
                )  # fmt: skip
        except Exception as error:  # as a crash of a real agent: a last word, then the end
            self._stderr = f"{type(error).__name__}: {error}"
        finally:
            self._exit_code = code
            self._put(b"")

    def _read_request(self) -> bytes:
        while not self._killed.is_set():
            with contextlib.suppress(queue.Empty):
                return self._requests.get(timeout=0.1)
        return b""

    def _write(self, data: bytes) -> None:
        if not self._put(data):
            raise BrokenPipeError

    def _put(self, data: bytes) -> bool:
        while not self._killed.is_set():
            with contextlib.suppress(queue.Full):
                self._lines.put(data, timeout=0.1)
                return True
        return False

    def send(self, data: bytes) -> None:
        """See ``Process``. The request's ``id`` seeds the noise: same suite, same numbers."""
        identity = str(json.loads(data).get("id", ""))
        self._seed = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big")
        self._requests.put(data)

    def read_line(self, timeout: float) -> bytes:
        """See ``Process``."""
        try:
            return self._lines.get(timeout=timeout)
        except queue.Empty:
            raise AgentTimeoutError(f"the agent said nothing for {timeout:g} s") from None

    def wait(self, timeout: float) -> int | None:
        """See ``Process``."""
        self._thread.join(timeout)
        return self._exit_code

    def kill(self) -> None:
        """See ``Process``."""
        self._killed.set()

    def stderr_tail(self) -> str:
        """See ``Process``."""
        return self._stderr


class SimulatedTransport:
    """A link to a modelled device."""

    kind_is_simulated: ClassVar[bool] = True
    resumes: ClassVar[bool] = True

    def __init__(self, device: Device) -> None:
        self._device = device

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
        return LocalTransport(self._device).run(argv, stdin=stdin, timeout=timeout)

    def put(self, uploads: Sequence[Upload], progress: Callable[[int], None]) -> None:
        """See ``Transport``."""
        copied = [file for file in uploads if not files.place(file, progress)]
        LocalTransport(self._device).put(copied, progress)

    def get(self, remote: str, local: Path, *, limit: int) -> int:
        """See ``Transport``."""
        return copy_bounded(remote, local, limit)

    def start(self, argv: Sequence[str]) -> SimulatedProcess:
        """See ``Transport``."""
        del argv
        return SimulatedProcess(self._device)

    def stay(self, argv: Sequence[str]) -> SimulatedProcess:
        """See ``Transport``."""
        return self.start(argv)
