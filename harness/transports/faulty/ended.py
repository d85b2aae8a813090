"""Processes that are no agent."""

from __future__ import annotations

from harness.errors import LinkLostError


class EndedProcess:
    """A command that ended at once, see ``Process``: its exit code and its last words."""

    def __init__(self, exit_code: int, stderr: str) -> None:
        self._exit_code, self._stderr = exit_code, stderr

    def send(self, data: bytes) -> None:
        """See ``Process``."""
        raise LinkLostError(f"the process ended before it read {len(data)} bytes")

    def read_line(self, timeout: float) -> bytes:
        """See ``Process``."""
        del timeout
        return b""

    def wait(self, timeout: float) -> int | None:
        """See ``Process``."""
        del timeout
        return self._exit_code

    def kill(self) -> None:
        """See ``Process``."""

    def stderr_tail(self) -> str:
        """See ``Process``."""
        return self._stderr
