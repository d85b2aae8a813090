"""OpenSSH's own server inside the root: its configuration, its keys, and ours."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.emulation.loopback import HOST

USER = "edge"
COMMAND = ["/usr/sbin/sshd", "-D", "-e", "-f", "/etc/ssh/sshd_config"]

# A server forgets its environment for each session: the CPU is set anew. It runs as the user
# whom it lets in, like a user's own server, and takes nobody else.
_CONFIG = """\
ListenAddress {host}
Port {port}
HostKey /etc/ssh/host_key
AuthorizedKeysFile /etc/ssh/authorized_keys
AllowUsers {user}
SetEnv QEMU_CPU={cpu} LANG=C.UTF-8
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 50
MaxSessions 50
Subsystem sftp /usr/lib/openssh/sftp-server
"""


def write_settings(inside: Path, ours: Path, port: int, cpu: str) -> None:
    """What the server reads goes to ``inside``, its ``/etc/ssh``; a client's files to ``ours``."""
    host = _write_key(inside / "host_key")
    client = _write_key(ours / "identity")
    (inside / "authorized_keys").write_text(f"{client}\n")
    (inside / "sshd_config").write_text(_CONFIG.format(host=HOST, port=port, user=USER, cpu=cpu))
    (ours / "known_hosts").write_text(f"[{HOST}]:{port} {host}\n")


def _write_key(path: Path) -> str:
    """Make a key, and return its public half."""
    key = Ed25519PrivateKey.generate()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(handle, "wb") as stream:
        stream.write(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
        )
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        .decode()
    )


def answers(port: int, alive: Callable[[], bool], seconds: float = 60) -> bool:
    """Wait until the server greets; false when it has ended or does not in time."""
    deadline = time.monotonic() + seconds
    while alive() and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), 5) as link:
            if link.recv(8).startswith(b"SSH-2.0-"):
                return True
        time.sleep(0.05)
    return False
