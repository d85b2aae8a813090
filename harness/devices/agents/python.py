"""The Python agent: one zip, run by the device's own interpreter."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.devices.blobs import Blob
from harness.devices.bundle import agent_bundle
from harness.domain import Device
from harness.transports import Transport


class PythonAgent:
    """See ``AgentProgram``."""

    def __init__(self, device: Device) -> None:
        self._runtime = device.link.get("runtime")
        self._bundle = agent_bundle()
        self._python = "python3"

    def prepare(self, transport: Transport) -> Sequence[Blob]:
        """See ``AgentProgram``."""
        self._python = transport.python
        return [self._bundle]

    def argv(self, path: Callable[[Blob], str]) -> Sequence[str]:
        """See ``AgentProgram``."""
        command = [self._python, path(self._bundle)]
        return [*command, "--runtime", str(self._runtime)] if self._runtime else command

    @property
    def program(self) -> str:
        """See ``AgentProgram``."""
        return self._python

    @property
    def missing(self) -> str:
        """See ``AgentProgram``."""
        return "install Python 3.7 or later there, or set `python` of this device"
