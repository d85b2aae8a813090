"""Why there is no link to a device by ssh, and what to do, from what paramiko raised."""

from __future__ import annotations

import shlex
import socket
from collections.abc import Mapping
from typing import Any, NoReturn

import paramiko
from paramiko.ssh_exception import NoValidConnectionsError

from harness.domain import Device
from harness.errors import AuthenticationError, HostKeyError, UnreachableError
from harness.transports.lines import printable
from harness.transports.ssh_config import SshTarget
from harness.transports.ssh_host_keys import fingerprint
from harness.transports.ssh_keys import NoPrivateKeyError


def raise_refusal(
    error: BaseException, device: Device, target: SshTarget, proxy_said: str | None
) -> NoReturn:
    """Raise what an error while connecting means to a user.

    ``proxy_said`` is the stderr of what is in between, ``None`` where nothing is. Raises
    ``HostKeyError``, ``AuthenticationError``, ``UnreachableError``; what is no error of a link
    as it is.
    """
    name = device.name
    where = f"{target.hostname} port {target.port}"
    if isinstance(error, paramiko.BadHostKeyException):
        file = target.known_hosts[0] if target.known_hosts else "~/.ssh/known_hosts"
        port = f"[{target.hostname}]:{target.port}" if target.port != 22 else target.hostname
        raise HostKeyError(
            f"{name}: the host key of {where} has CHANGED: it shows "
            f"{fingerprint(error.key)}, known is {fingerprint(error.expected_key)}",
            hint="someone may be in between; if the device was set up anew: "
            f"ssh-keygen -f {shlex.quote(file)} -R {shlex.quote(port)}",
        ) from None
    if isinstance(error, NoPrivateKeyError):
        public = error.file.endswith(".pub")
        raise AuthenticationError(
            f"{name}: {error}",
            hint="the .pub is the public half: name the file without .pub"
            if public
            else "name another as identity_file, or make one: ssh-keygen -t ed25519",
        ) from None
    if isinstance(error, paramiko.PasswordRequiredException):
        raise AuthenticationError(
            f"{name}: the key for {where} is encrypted, and nobody gave its passphrase",
            hint=f"unlock it once with: ssh-add {shlex.join(target.identity_files[:1])}; or "
            "run this at a terminal, or set SSH_ASKPASS",
        ) from None
    if "shut down or saw EOF" in str(error):
        raise UnreachableError(
            f"{name}: {where} ended the connection while keys were offered",
            hint="if that stays so: too many keys in the agent? try IdentitiesOnly yes in "
            "~/.ssh/config",
        ) from None
    no_key = "No authentication methods available" in str(error)
    # A board that is short of time answers late; that is no verdict on the key.
    late = isinstance(error, paramiko.AuthenticationException) and "timeout" in str(error)
    if (isinstance(error, paramiko.AuthenticationException) and not late) or no_key:
        user = target.user or "the current user"
        tried = ", ".join(target.identity_files) or "no key file"
        raise AuthenticationError(
            f"{name}: {where} refuses the key for {user} (tried: {tried}"
            f"{' and the agent' if target.use_agent else ''})",
            hint=f"install your key: ssh-copy-id -p {target.port} "
            f"{target.user + '@' if target.user else ''}{target.hostname}",
        ) from None
    if isinstance(error, (OSError, EOFError, paramiko.SSHException)):
        reason = _reason(error)
        if proxy_said is not None:
            _raise_proxy_refusal(device, where, reason, proxy_said)
        raise UnreachableError(
            f"{name}: no ssh answer from {where}: {reason}",
            hint="is it switched on, in this network, and does its ssh server run? try: "
            f"{_by_hand(device.link)}",
        ) from None
    raise error


def _reason(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "no such host"
    if isinstance(error, NoValidConnectionsError):  # one error for each address of the host
        each = [str(getattr(one, "strerror", None) or one) for one in error.errors.values()]
        return ", ".join(dict.fromkeys(each))
    return str(error) or type(error).__name__


def _raise_proxy_refusal(device: Device, where: str, reason: str, said: str) -> NoReturn:
    """The link to a device behind others: what is on the way has said why it failed."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    hint = f"try: {_by_hand(device.link)}"
    why = printable(lines[-1] if lines else reason)
    message = f"{device.name}: no way to {where} through what is in between: {why}"
    if "Host key verification failed" in said:
        raise HostKeyError(message, hint=hint) from None
    if "Permission denied" in said:
        raise AuthenticationError(message, hint=hint) from None
    raise UnreachableError(message, hint=hint) from None


def _by_hand(link: Mapping[str, Any]) -> str:
    """The command that does what the profile says: an alias stays one."""
    words = ["ssh"]
    for option, key in (("-F", "ssh_config"), ("-p", "port"), ("-i", "identity_file")):
        if link.get(key):
            words += [option, str(link[key])]
    host = str(link["host"])
    if link.get("user"):
        host = f"{link['user']}@{host.rpartition('@')[2]}"
    return shlex.join([*words, host, "true"])
