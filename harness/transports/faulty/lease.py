"""The lease of a device that others use too, as ``device_agents/shell/lease.sh`` answers."""

from __future__ import annotations

from collections import deque

from harness.errors import AgentTimeoutError, LinkLostError

#: Whose sessions are in the way, in the words of a lease's owner.
OTHER = "somebody@elsewhere (process 4711), another run"

#: Exit code of a process whose link was cut, as ssh has it.
_CUT = 255


class LeaseProcess:
    """A session's lease, see ``Process``; ``busy()`` asks whether another session is in the way."""

    def __init__(self, nonce: str, place: str, token: int, busy: int | None) -> None:
        self._nonce, self._place, self._token = nonce, place, token
        #: How often it still is; ``None``: always.
        self._busy = busy
        self._said: deque[str] = deque()
        self._exit_code: int | None = None
        self._held = self._stolen = False

    def send(self, data: bytes) -> None:
        """See ``Process``: questions and promises, as ``lease.sh`` reads them."""
        if self._exit_code is not None:
            raise LinkLostError("the lease's process has ended")
        question, _, seconds = data.decode("ascii").strip().partition(" ")
        if seconds == "0":
            self._said.append("ended")
            self._exit_code = 0
        elif question != "0":
            self._said.append(f"beat {question}")

    def read_line(self, timeout: float) -> bytes:
        """See ``Process``."""
        if not self._said and not self._held and self._exit_code is None:
            self._acquire()
        if self._said:
            return f"{self._nonce} {self._said.popleft()}\n".encode()
        if self._exit_code == _CUT:
            raise LinkLostError("the link was cut")
        if self._exit_code is None:
            raise AgentTimeoutError(f"the lease said nothing for {timeout:g} s")
        return b""

    def _acquire(self) -> None:
        if self._busy is None or self._busy > 0:
            self._busy = None if self._busy is None else self._busy - 1
            self._said.append(f"busy 30 {OTHER}")
            return
        self._held = True
        self._said += ["asking", f"held {self._token} {self._place} /simulated/lease"]

    def steal(self) -> None:
        """Another session takes the device: the last word says who."""
        if self._exit_code is None:
            self._said.append(f"lost {OTHER}")
            self._exit_code = 1

    def cut(self) -> None:
        """The link is gone, and the lease with it."""
        if self._exit_code is None:
            self._said.clear()
            self._exit_code = _CUT

    def wait(self, timeout: float) -> int | None:
        """See ``Process``."""
        del timeout
        return self._exit_code

    def kill(self) -> None:
        """See ``Process``."""
        self.cut()

    def stderr_tail(self) -> str:
        """See ``Process``."""
        return ""
