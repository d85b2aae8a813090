"""What ``~/.ssh/config`` says of a host, as OpenSSH itself reads it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import paramiko

from harness.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SshTarget:
    """Where and how to connect."""

    hostname: str
    port: int
    user: str | None
    identity_files: tuple[str, ...]
    known_hosts: tuple[str, ...]
    host_key_alias: str | None
    proxy_command: str | None
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
    proxy = first("proxycommand")
    jump = first("proxyjump")
    if proxy is None and jump is not None:
        option = f"-F {config} " if config else ""
        proxy = f"ssh {option}-W %h:%p {jump}"
    if proxy is not None:
        proxy = proxy.replace("%h", hostname).replace("%p", str(chosen_port))
        proxy = proxy.replace("%r", user or first("user") or "").replace("%%", "%")
    files = [identity_file] if identity_file else found.get("identityfile", [])
    lists = [known_hosts] if known_hosts else _known_hosts(found)
    return SshTarget(
        hostname=hostname,
        port=chosen_port,
        user=user or first("user"),
        identity_files=tuple(p for p in map(os.path.expanduser, files) if Path(p).is_file()),
        known_hosts=tuple(os.path.expanduser(name) for name in lists),
        host_key_alias=first("hostkeyalias"),
        proxy_command=proxy,
        use_agent=identity_file is None and first("identitiesonly") != "yes",
        connect_timeout=float(first("connecttimeout") or 10),
    )


def _known_hosts(found: dict[str, list[str]]) -> list[str]:
    names: list[str] = []
    for key in ("userknownhostsfile", "globalknownhostsfile"):
        for value in found.get(key, []):
            names.extend(value.split())
    return names or ["~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"]


def _openssh(host: str, config: str | None) -> dict[str, list[str]]:
    command = ["ssh", "-G", *(["-F", os.path.expanduser(config)] if config else []), "--", host]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
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
