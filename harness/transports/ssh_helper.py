"""The shell that stands ready on an ssh device.

A login shell takes its time to start (some run a whole set-up for every command), so one starts
once, while the link is made. It serves helper scripts and files, and holds the lease.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager

import paramiko

from harness.errors import TransportError
from harness.transports.ssh_shell import SERVE, SshShell, SshStay, Wire
from harness.transports.transport import Completed, Upload


class SshHelper:
    """Runs scripts, copies files and lets something stay on one link.

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
            channel = None
            try:
                channel = self._open(SERVE)
            except TransportError:
                pass  # whoever needs it tries again and is told
            finally:
                box.put(channel)

        self._starting = box
        threading.Thread(target=start, name="get-ready", daemon=True).start()

    def close(self) -> None:
        """End the shell that stands ready, and what stays in it."""
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

    @contextmanager
    def _taken(self, shell: SshShell | None) -> Iterator[SshShell]:
        """The shell, or a new one; back in its place if it is of use after that."""
        taken = shell or SshShell(self.wire, self._open(SERVE))
        try:
            yield taken
        except BaseException:
            self._put_back(taken)
            raise
        self._put_back(taken)

    def _put_back(self, shell: SshShell) -> None:
        if shell.idle:
            self._shell = shell
        else:
            shell.close()

    def run(self, argv: Sequence[str], timeout: float) -> Completed | None:
        """Run ``sh -c TEXT NAME ...`` in the shell that stands ready; ``None`` without one."""
        found = self._standing()
        if found is None:
            return None
        with self._taken(found) as shell:
            if shell.listens(timeout):
                return shell.run(argv, timeout)
            shell.idle = False
        return None

    def stay(self, argv: Sequence[str], timeout: float) -> SshStay | None:
        """Run ``sh -c TEXT NAME ...`` as a part of the shell that stands ready.

        ``None`` where that shell ends with every file.
        """
        with self._taken(self._standing()) as shell:
            if shell.listens(timeout) and shell.many():
                shell.stay(argv)
                return SshStay(shell, self.wire.name)
            shell.idle = False
        return None

    def put(self, files: Sequence[Upload], progress: Callable[[int], None]) -> Collection[str]:
        """See ``Transport``."""
        left = list(files)
        placed: set[str] = set()
        while left:
            with self._taken(self._standing()) as shell:
                now, left = (left, []) if shell.many() else (left[:1], left[1:])
                placed |= shell.put(now, progress)
        return placed
