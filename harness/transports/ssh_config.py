"""What ``~/.ssh/config`` says of a host, as OpenSSH itself reads it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import paramiko

from harness.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SshTarget:
    """Where and how to connect; ``proxy`` is the command to connect through, or empty."""

    hostname: str
    port: int
    user: str | None
    identity_files: tuple[str, ...]
    known_hosts: tuple[str, ...]
    host_key_alias: str | None
    proxy: tuple[str, ...]
    use_agent: bool
    connect_timeout: float


def resolve(
    host: str,
    *,
    port: int | None = None,
    user: str | None = None,
    identity_file: str | None = None,
    known_hosts: str | None = None,
    config: str | None = None,
) -> SshTarget:
    """Resolve ``host`` (a name, an alias or ``user@host``); explicit settings win.

    ``ssh -G`` reads the configuration where OpenSSH's client is installed, so that Match,
    Include and tokens mean what they mean to ``ssh``; elsewhere paramiko's own reader does.
    """
    if "@" in host:
        named, host = host.rsplit("@", 1)
        user = user or named
    if not host or host.startswith("-"):
        raise ConfigError(f"{host!r} is not the name of a host")
    found = _openssh(host, config) if shutil.which("ssh") else _paramiko(host, config)

    def first(key: str) -> str | None:
        values = found.get(key)
        return values[0] if values and values[0] not in ("none", "") else None

    hostname = first("hostname") or host
    chosen_port = port or int(first("port") or 22)
    login = user or first("user")
    proxy: tuple[str, ...] = ()
    if command := first("proxycommand"):
        for token, value in (("%h", hostname), ("%p", str(chosen_port)), ("%r", login or "")):
            command = command.replace(token, value)
        proxy = ("/bin/sh", "-c", "exec " + command.replace("%%", "%"))
    elif jump := first("proxyjump"):
        proxy = _jump(jump, f"[{hostname}]:{chosen_port}", config)
    files = [identity_file] if identity_file else found.get("identityfile", [])
    lists = [known_hosts] if known_hosts else _known_hosts(found)
    return SshTarget(
        hostname=hostname,
        port=chosen_port,
        user=login,
        identity_files=tuple(p for p in map(os.path.expanduser, files) if Path(p).is_file()),
        known_hosts=tuple(os.path.expanduser(name) for name in lists),
        host_key_alias=first("hostkeyalias"),
        proxy=proxy,
        use_agent=first("identitiesonly") != "yes",
        connect_timeout=float(first("connecttimeout") or 10),
    )


def _jump(hops: str, target: str, config: str | None) -> tuple[str, ...]:
    """``ssh`` itself goes through the hops: ``[user@]host[:port][,...]``, the last one last."""
    *before, last = hops.split(",")
    last = last.strip().removeprefix("ssh://")
    options = ["-F", os.path.expanduser(config)] if config else []
    if before:
        options += ["-J", ",".join(before)]
    found = re.fullmatch(r"(?:(.+)@)?(\[[^]]+\]|[^:]+)(?::(\d+))?", last)
    if found is None or found[2].startswith("-"):
        raise ConfigError(f"ProxyJump {hops!r} cannot be read")
    if found[1]:
        options += ["-l", found[1]]
    if found[3]:
        options += ["-p", found[3]]
    return ("ssh", *options, "-W", target, "--", found[2].strip("[]"))


def _known_hosts(found: dict[str, list[str]]) -> list[str]:
    names: list[str] = []
    for key in ("userknownhostsfile", "globalknownhostsfile"):
        for value in found.get(key, []):
            names.extend(value.split())
    return names or ["~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"]


def _openssh(host: str, config: str | None) -> dict[str, list[str]]:
    command = ["ssh", "-G", *(["-F", os.path.expanduser(config)] if config else []), "--", host]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=30, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ConfigError(f"ssh cannot read its configuration for {host!r}: {error}") from None
    if done.returncode != 0:
        raise ConfigError(f"ssh cannot read its configuration for {host}: {done.stderr.strip()}")
    found: dict[str, list[str]] = defaultdict(list)
    for line in done.stdout.splitlines():
        key, _, value = line.partition(" ")
        found[key.lower()].append(value)
    return found


def _paramiko(host: str, config: str | None) -> dict[str, list[str]]:
    path = Path(os.path.expanduser(config or "~/.ssh/config"))
    if not path.is_file():
        return {"identityfile": [f"~/.ssh/id_{kind}" for kind in ("ed25519", "ecdsa", "rsa")]}
    try:
        entry = paramiko.SSHConfig.from_path(str(path)).lookup(host)
    except paramiko.ConfigParseError as error:
        raise ConfigError(f"{path}: {error}") from None
    return {key: value if isinstance(value, list) else [value] for key, value in entry.items()}
