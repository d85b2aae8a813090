"""A real OpenSSH server for tests: own port, own keys, own folder, this user."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support import needed


@dataclass
class Sshd:
    """A running server and what a client needs to reach it."""

    folder: Path
    port: int
    user: str
    process: subprocess.Popen[bytes]
    host: str = "127.0.0.1"

    @property
    def known_hosts(self) -> Path:
        """Holds the server's host key."""
        return self.folder / "known_hosts"

    @property
    def key(self) -> Path:
        """A private key that the server accepts."""
        return self.folder / "user_key"

    def device(self, name: str = "board", **settings: object) -> str:
        """A ``[device.NAME]`` table for a suite; settings override or add lines."""
        import sys

        lines: dict[str, object] = {
            "transport": "ssh",
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "identity_file": str(self.key),
            "known_hosts": str(self.known_hosts),
            "python": sys.executable,
            "work_dir": str(self.folder / "device"),
            "lease_dir": str(self.folder),
            **settings,
        }
        body = "\n".join(
            f"{key} = {value}" if isinstance(value, int) else f'{key} = "{value}"'
            for key, value in lines.items()
            if value is not None
        )
        return f"\n[device.{name}]\n{body}\n"

    def sessions(self) -> list[int]:
        """The server's processes that serve connections, not what those have started."""
        listed = subprocess.run(
            ["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        found, parents = [], {self.process.pid}
        rows = [line.split(None, 2) for line in listed]
        while True:
            new = [
                int(pid)
                for pid, parent, args in (row for row in rows if len(row) == 3)
                if int(parent) in parents and "sshd" in args.split()[0] and int(pid) not in found
            ]
            if not new:
                return found
            found.extend(new)
            parents.update(new)

    def cut(self) -> int:
        """Break every connection at once; returns how many."""
        found = self.sessions()
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def agents(self) -> list[int]:
        """Processes of agents on the device: they run from its work folder."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().decode("utf-8", "replace").split("\0")
                if len(words) > 1 and words[1].startswith(f"{self.folder}/device/blobs/"):
                    found.append(int(path.parent.name))
        return found

    def restart(self) -> None:
        """Answer again, after ``stop``."""
        log = self.folder / "log"
        with open(log, "ab") as file:
            self.process = subprocess.Popen(
                [*self.process.args[:1], "-D", "-e", "-f", str(self.folder / "config")],  # type: ignore[index]
                stdout=file, stderr=file,
            )  # fmt: skip
        _wait_for(self.host, self.port, self.process, log)

    def stop(self) -> None:
        """No more answers."""
        self.cut()
        self.process.terminate()
        self.process.wait(10)


def when_connected(server: Sshd, seconds: float, act: Callable[[], object]) -> None:
    """In the background: wait for a connection, and so many seconds more, then act."""

    def wait() -> None:
        deadline = time.monotonic() + 60
        while not server.sessions() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(seconds)
        act()

    threading.Thread(target=wait, daemon=True).start()


def when_measuring(server: Sshd, database: Path, act: Callable[[int], object]) -> None:
    """In the background: wait for the first samples of an agent, then act on its process."""

    def sampled() -> bool:
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection,
        ):
            return bool(connection.execute("SELECT count(*) FROM samples").fetchone()[0])
        return False

    def wait() -> None:
        deadline = time.monotonic() + 100
        while not (sampled() and server.agents()) and time.monotonic() < deadline:
            time.sleep(0.02)
        for pid in server.agents()[:1]:
            act(pid)

    threading.Thread(target=wait, daemon=True).start()


@contextlib.contextmanager
def start_sshd(folder: Path, *, host: str = "127.0.0.1", config: str = "") -> Iterator[Sshd]:
    """Start a server in ``folder``; ends it and its connections. ``config`` has lines for it."""
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin:/bin")
    if program is None:
        needed("OpenSSH's server is not installed (Debian: openssh-server)")
    folder.mkdir(mode=0o700)
    for name in ("host_key", "user_key"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True
        )
    shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with socket.socket() as probe:
        probe.bind((host, 0))
        port = probe.getsockname()[1]
    (folder / "config").write_text(
        f"""
{config}
ListenAddress {host}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 50
MaxSessions 50
Subsystem sftp internal-sftp
"""
    )
    key = (folder / "host_key.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[{host}]:{port} {key[0]} {key[1]}\n")
    log = open(folder / "log", "wb")  # noqa: SIM115  the server's for as long as it runs
    process = subprocess.Popen(
        [program, "-D", "-e", "-f", str(folder / "config")], stdout=log, stderr=log
    )
    server = Sshd(folder, port, getpass.getuser(), process, host)
    try:
        _wait_for(host, port, process, folder / "log")
        yield server
    finally:
        server.stop()
        log.close()


def _wait_for(host: str, port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"sshd ended: {log.read_text()}")
        with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError("sshd does not answer")
