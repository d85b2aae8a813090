"""The shell that stands ready on an ssh device.

A login shell takes its time to start (some run a whole set-up for every command), so one starts
once, while the link is made. It serves helper scripts and files, and holds the lease.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Sequence

import paramiko

from harness.errors import TransportError
from harness.transports.ssh_shell import SERVE, SshHeld, SshShell, Wire
from harness.transports.transport import Completed, Upload


class SshHelper:
    """Runs scripts, copies files and holds something over one link.

    ``open_command(argv)`` starts a command on it; ``beat`` is called whenever the device takes
    something.
    """

    def __init__(
        self,
        name: str,
        open_command: Callable[[Sequence[str]], paramiko.Channel],
        beat: Callable[[], None],
    ) -> None:
        self.wire = Wire(name, beat)
        self._open = open_command
        self._starting: queue.Queue[paramiko.Channel | None] | None = None
        self._shell: SshShell | None = None

    def get_ready(self) -> None:
        """Let the shell start while whoever opened the link does something else."""
        box: queue.Queue[paramiko.Channel | None] = queue.Queue()

        def start() -> None:
            try:
                box.put(self._open(SERVE))
            except TransportError:
                box.put(None)

        self._starting = box
        threading.Thread(target=start, name="get-ready", daemon=True).start()

    def close(self) -> None:
        """End the shell that stands ready, and what it holds."""
        shell = self._standing()
        if shell is not None:
            shell.close()

    def _standing(self) -> SshShell | None:
        """The shell that stands ready, taken out of its place."""
        box, self._starting = self._starting, None
        channel = box.get() if box is not None else None
        shell, self._shell = self._shell, None
        if channel is not None:
            shell = SshShell(self.wire, channel)
        return None if shell is None or shell.ended else shell

    def _a_shell(self) -> SshShell:
        return self._standing() or SshShell(self.wire, self._open(SERVE))

    def run(self, argv: Sequence[str], timeout: float) -> Completed | None:
        """Run ``sh -c TEXT NAME ...`` in the shell that stands ready; ``None`` without one."""
        shell = self._standing()
        if shell is None:
            return None
        try:
            if not shell.listens(timeout):
                shell.close()
                return None
            done = shell.run(argv, timeout)
        except BaseException:
            shell.close()
            raise
        self._shell = shell
        return done

    def hold(self, argv: Sequence[str], timeout: float) -> SshHeld | None:
        """Run ``sh -c TEXT NAME ...`` as a part of the shell that stands ready.

        ``None`` where that shell ends with every file.
        """
        shell = self._a_shell()
        try:
            if not shell.listens(timeout) or not shell.many():
                shell.close()
                return None
            shell.hold(argv)
        except BaseException:
            shell.close()
            raise
        self._shell = shell
        return SshHeld(shell, self.wire.name)

    def put(self, files: Sequence[Upload], progress: Callable[[int], None]) -> Collection[str]:
        """See ``Transport``."""
        left = list(files)
        placed: set[str] = set()
        while left:
            shell = self._a_shell()
            try:
                many = shell.many()
                now, left = (left, []) if many else (left[:1], left[1:])
                placed |= shell.put(now, progress)
            except BaseException:
                shell.close()
                raise
            if many:
                self._shell = shell
            else:
                shell.close()
        return placed
