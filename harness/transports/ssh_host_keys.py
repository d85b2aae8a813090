"""Host keys: what is known of them, and what to say of one that is not."""

from __future__ import annotations

import base64
import hashlib
import shlex
from pathlib import Path
from typing import NoReturn

import paramiko
from paramiko.hostkeys import HostKeyEntry, InvalidHostKey

from harness.errors import HostKeyError
from harness.transports.ssh_config import SshTarget


def fingerprint(key: paramiko.PKey) -> str:
    """A key's fingerprint in the form that ``ssh-keygen -l`` prints."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def load_known_hosts(keys: paramiko.HostKeys, file: str) -> None:
    """Add a file's keys; lines that cannot be read are skipped, as ``ssh`` does.

    ``@revoked`` and ``@cert-authority`` lines give no key to trust.
    """
    try:
        lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith(("#", "@")):
            continue
        try:
            entry = HostKeyEntry.from_line(line, number)
        except (paramiko.SSHException, InvalidHostKey, ValueError, IndexError):
            continue
        if entry is not None and entry.key is not None:
            for name in entry.hostnames:
                keys.add(name, entry.key.get_name(), entry.key)


class RefuseUnknown(paramiko.MissingHostKeyPolicy):
    """Unknown keys are refused, with the fingerprint and the command that accepts them."""

    def __init__(self, device: str, target: SshTarget) -> None:
        self._device, self._target = device, target

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> NoReturn:
        """See paramiko."""
        target = self._target
        port = f"-p {target.port} " if target.port != 22 else ""
        kind = key.get_name().removeprefix("ssh-").split("-")[0]
        file = target.known_hosts[0] if target.known_hosts else "~/.ssh/known_hosts"
        raise HostKeyError(
            f"{self._device}: the host key of {target.hostname} is unknown: "
            f"{key.get_name()} {fingerprint(key)}",
            hint="compare the fingerprint on the device (ssh-keygen -lf "
            "/etc/ssh/ssh_host_ed25519_key.pub), then accept it: "
            f"ssh-keyscan {port}-t {kind} {shlex.quote(target.hostname)} >> {shlex.quote(file)}",
        )
