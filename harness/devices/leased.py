"""A link on which programs start, and go on, only while the device is ours."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

from harness.devices.lease import BEAT, DeviceLease
from harness.errors import AgentTimeoutError
from harness.transports import Process, Transport


class _LeasedProcess:
    """A program under the lease, see ``Process``; reading from it renews the lease."""

    def __init__(self, process: Process, lease: DeviceLease, name: str) -> None:
        self._process, self._lease, self._name = process, lease, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._process, name)

    def read_line(self, timeout: float) -> bytes:
        """See ``Process``."""
        if self._lease.fence is None:
            return self._process.read_line(timeout)
        deadline = time.monotonic() + timeout
        while True:
            if not self._lease.stands:
                self._lease.verify()  # says why
            self._lease.beat()
            left = deadline - time.monotonic()
            try:
                return self._process.read_line(min(left, BEAT))
            except AgentTimeoutError:
                if left <= BEAT:
                    raise AgentTimeoutError(
                        f"{self._name}: the agent said nothing for {timeout:g} s"
                    ) from None

    def kill(self) -> None:
        """See ``Process``; the lease is then good for the time between two programs."""
        self._process.kill()
        self._lease.hold()


class _LeasedLink:
    def __init__(self, transport: Transport, lease: DeviceLease, name: str) -> None:
        self._transport, self._lease, self._name = transport, lease, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def start(self, argv: Sequence[str]) -> Process:
        """See ``Transport``; a session that has lost the device starts nothing."""
        process = self._transport.start(self._lease.command(argv))
        return cast(Process, _LeasedProcess(process, self._lease, self._name))


def leased_link(transport: Transport, lease: DeviceLease, name: str) -> Transport:
    """The session's transport, its programs under the session's lease."""
    return cast(Transport, _LeasedLink(transport, lease, name))
