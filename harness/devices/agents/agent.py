"""What the host needs to know of a program that runs models on a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from harness.devices.blobs import Blob
from harness.domain import Device
from harness.transports import Transport


class AgentProgram(Protocol):
    """One agent for one device; made when its session opens, holds no connection."""

    def prepare(self, transport: Transport) -> Sequence[Blob]:
        """The files that must be on the device, once the link is open.

        Raises ``AgentSetupError`` where there is no agent for this device, with what to do.
        """

    def argv(self, path: Callable[[Blob], str]) -> Sequence[str]:
        """The command that starts one process; ``path`` tells where a pushed file is."""

    @property
    def program(self) -> str:
        """What must be there to start it, for messages: ``python3``, a file's name."""

    @property
    def missing(self) -> str:
        """The next step where the device cannot start it."""


AgentFactory = Callable[[Device], AgentProgram]
