"""Host keys: what is known of them, and what to say of one that is not."""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Collection, Sequence
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


def load_known_hosts(keys: paramiko.HostKeys, files: Sequence[str]) -> frozenset[bytes]:
    """Add the files' keys; lines that cannot be read are skipped, as ``ssh`` does.

    Returns the keys that a file calls revoked, for whichever host: they are never trusted.
    ``@cert-authority`` lines give no key to trust.
    """
    found: list[HostKeyEntry] = []
    revoked: set[bytes] = set()
    for line in (line for file in files for line in _lines(file)):
        mark, _, rest = line.strip().partition(" ")
        if mark.startswith("#") or (mark.startswith("@") and mark != "@revoked"):
            continue
        try:
            entry = HostKeyEntry.from_line(rest if mark == "@revoked" else line)
        except (paramiko.SSHException, InvalidHostKey, ValueError, IndexError):
            continue
        if entry is None or entry.key is None:
            continue
        if mark == "@revoked":
            revoked.add(entry.key.asbytes())
        else:
            found.append(entry)
    for entry in found:
        if entry.key.asbytes() not in revoked:
            for name in entry.hostnames:
                keys.add(name, entry.key.get_name(), entry.key)
    return frozenset(revoked)


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


class RefuseUnknown(paramiko.MissingHostKeyPolicy):
    """Unknown keys are refused, with the fingerprint and the command that accepts them."""

    def __init__(self, device: str, target: SshTarget, revoked: Collection[bytes]) -> None:
        self._device, self._target, self._revoked = device, target, revoked

    def missing_host_key(
        self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey
    ) -> NoReturn:
        """See paramiko."""
        target = self._target
        if key.asbytes() in self._revoked:
            raise HostKeyError(
                f"{self._device}: the host key of {target.hostname} is REVOKED: {fingerprint(key)}",
                hint="somebody may have stolen it: give the device a new one (ssh-keygen -A), "
                "or look for the @revoked line in " + ", ".join(target.known_hosts),
            )
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
