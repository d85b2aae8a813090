"""The lease script in real shells, with a /proc that a test can change."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

from harness.transports.scripts import script

#: The shells of Debian, of small devices and of Android, and of those this machine has.
SHELLS = [
    words
    for words in (["dash"], ["busybox", "ash"], ["mksh"], ["bash"])
    if shutil.which(words[0]) or words[0] == "dash"
]


class Field:
    """A device's folder of leases, its clock and its boot, all in ``folder``."""

    def __init__(self, folder: Path, shell: list[str]) -> None:
        self.base, self.proc, self.shell = folder / "base", folder / "proc", shell
        self.base.mkdir()
        (self.proc / "sys/kernel/random").mkdir(parents=True)
        self.boot("first")
        self.uptime(1000)
        tools = folder / "tools"
        tools.mkdir()
        # Time of day is never asked for, and nobody waits long.
        for name, text in (("date", f"touch {folder}/asked"), ("sleep", "exec /bin/sleep 0.05")):
            (tools / name).write_text(f"#!/bin/sh\n{text}\n")
            (tools / name).chmod(0o755)
        self.asked = folder / "asked"
        self.env = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}

    @property
    def leases(self) -> Path:
        """Where the sessions' folders are."""
        return self.base / "edge-harness-lease"

    def boot(self, name: str) -> None:
        """Another boot of the device."""
        self._tell("sys/kernel/random/boot_id", f"{name}\n")

    def uptime(self, seconds: int) -> None:
        """Seconds since the device was started."""
        self._tell("uptime", f"{seconds}.25 77.5\n")

    def _tell(self, name: str, text: str) -> None:
        """At once, as a kernel does: a script that reads meanwhile never finds an empty file."""
        new = self.proc / "new"
        new.write_text(text)
        new.replace(self.proc / name)

    def hold(self, nonce: str, *, previous: str = "-", good: int = 60, late: str = "") -> Holder:
        """Start the script; who owns it tells the nonce.

        As over a link, its process leads a group; ``late`` is a command that runs in it.
        """
        argv = [nonce, previous, str(good), str(self.base), str(self.proc), f"{nonce}@host $(x) *"]
        process = subprocess.Popen(
            [*self.shell, "-c", late + script("lease.sh"), "lease.sh", *argv],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=self.env, cwd=self.base, start_new_session=True,
        )  # fmt: skip
        return Holder(process, nonce)

    def guarded(self, number: int, nonce: str, *argv: str) -> subprocess.Popen[bytes]:
        """Start a program under a lease."""
        command = ["-c", script("guard.sh"), "guard.sh", str(self.leases), str(number), nonce]
        return subprocess.Popen(
            [*self.shell, *command, *argv],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.env,
        )  # fmt: skip


class Holder:
    """A running lease script."""

    def __init__(self, process: subprocess.Popen[bytes], nonce: str) -> None:
        self.process, self._nonce = process, nonce

    def hear(self) -> str:
        """The next answer of weight without its mark; empty at the end."""
        assert self.process.stdout
        line = "\n"
        while line in ("\n", f"{self._nonce} asking\n"):
            line = self.process.stdout.readline().decode()
        assert not line or line.startswith(f"{self._nonce} "), line
        return line[len(self._nonce) + 1 :].rstrip("\n")

    def say(self, text: str) -> None:
        """One line."""
        assert self.process.stdin
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def close(self) -> str:
        """End its stdin, as a cut link does; what it said last, and its complaints."""
        out, err = self.process.communicate(timeout=20)
        assert not err, err
        return out.decode()

    def kill(self) -> None:
        """As the device's kernel does when memory is short."""
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=20)
