"""The agent's own code as a coroutine of who asks it.

A thread for each agent would be handed the interpreter for each line that it says; on a machine
with other work that costs more than the line. The agent's code is the one that runs on devices and
knows nothing of coroutines, hence greenlets.
"""

from __future__ import annotations

import hashlib
import json
import threading

from greenlet import getcurrent, greenlet

from device_agents.python import agent
from harness.domain import Device
from harness.errors import AgentTimeoutError
from harness.transports.modelled.clock import ModelledClock
from harness.transports.modelled.runtime import ModelledRuntime
from harness.transports.modelled.state import DeviceBody
from harness.transports.modelled.sweeps import MODELLED_ACTIONS
from harness.transports.modelled.system import ModelledSystem


class SimulatedProcess:
    """An agent's process, see ``Process``: it goes on when a line of it is read.

    Of one thread. What it computes for real cannot be cut short: ``timeout`` is that of an agent
    that waits for a request.
    """

    def __init__(self, device: Device, body: DeviceBody) -> None:
        self._device, self._body = device, body
        self._request = b""
        self._seed = 0
        self._stderr = ""
        self._exit_code: int | None = None
        self._agent = greenlet(self._serve)
        self._thread = threading.get_ident()
        #: What threads of the agent have said meanwhile.
        self._aside: list[bytes] = []

    def _serve(self) -> bytes:
        clock, system = ModelledClock(), ModelledSystem(self._device, self._body.governor)

        def find(_wanted: str | None) -> ModelledRuntime:
            return ModelledRuntime(
                self._device, clock, system, lambda: self._seed,
                lambda request: self._body.begin(request, self._seed),
            )  # fmt: skip

        code = 1
        try:
            code = agent.serve(
                self._read_request, self._write, clock, system,
                find=find, actions=MODELLED_ACTIONS,
            )  # fmt: skip
        except Exception as error:  # as a crash of a real agent: a last word, then the end
            self._stderr = f"{type(error).__name__}: {error}"
        finally:
            self._exit_code = code
        return b""

    def _read_request(self) -> bytes:
        while not self._request:
            self._reader.switch(None)
        return self._request

    def _write(self, data: bytes) -> None:
        if threading.get_ident() != self._thread:
            self._aside.append(data)
            return
        while self._aside:
            self._reader.switch(self._aside.pop(0))
        self._reader.switch(data)

    @property
    def _reader(self) -> greenlet:
        parent = self._agent.parent
        assert parent is not None
        return parent

    def send(self, data: bytes) -> None:
        """See ``Process``. The request's ``id`` seeds the noise: same suite, same numbers."""
        identity = str(json.loads(data).get("id", ""))
        self._seed = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big")
        self._request = data

    def read_line(self, timeout: float) -> bytes:
        """See ``Process``."""
        if self._agent.dead:
            return b""
        self._agent.parent = getcurrent()
        line = self._agent.switch()
        if line is None:
            raise AgentTimeoutError(f"the agent said nothing for {timeout:g} s")
        found: bytes = line
        return found

    def wait(self, timeout: float) -> int | None:
        """See ``Process``."""
        return self._exit_code

    def kill(self) -> None:
        """See ``Process``; what it holds is given back."""
        if not self._agent.dead:
            self._agent.throw()

    def stderr_tail(self) -> str:
        """See ``Process``."""
        return self._stderr
