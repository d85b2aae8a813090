"""What ``~/.ssh/config`` says of a host, as OpenSSH itself reads it."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import paramiko

from harness.errors import ConfigError

#: In seconds.
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

#: Seconds between two questions whether the device still lives, where nothing else is set.
ALIVE_INTERVAL = 15.0


@dataclass(frozen=True, slots=True)
class SshTarget:
    """Where and how to connect.

    ``proxy`` is the command to connect through, or empty. ``agent_socket`` is an agent other
    than the one of ``SSH_AUTH_SOCK``. With ``only_identities`` the agent is asked only for the
    keys that ``identity_names`` lists. After ``alive_count`` times ``alive_interval`` seconds
    without a sign of life the link is given up.
    """

    hostname: str
    port: int
    user: str | None
    identity_files: tuple[str, ...]
    identity_names: tuple[str, ...]
    known_hosts: tuple[str, ...]
    host_key_alias: str | None
    proxy: tuple[str, ...]
    use_agent: bool
    agent_socket: str | None
    only_identities: bool
    connect_timeout: float
    alive_interval: float
    alive_count: int


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
    found = _openssh(host, config, port, user) if shutil.which("ssh") else _paramiko(host, config)

    def first(key: str) -> str | None:
        values = found.get(key)
        return values[0] if values and values[0] not in ("none", "") else None

    hostname = first("hostname") or host
    chosen_port = port or _whole("Port", first("port") or "22", least=1)
    login = user or first("user")

    def expand(text: str) -> str:
        """The tokens of ssh_config(5) that paths and commands use."""
        values = {
            "h": hostname,
            "n": host,
            "p": str(chosen_port),
            "r": login or getpass.getuser(),
            "u": getpass.getuser(),
            "d": str(Path.home()),
            "i": str(os.getuid()),
            "%": "%",
        }
        return re.sub(r"%(.)", lambda seen: values.get(seen[1], seen[0]), text)

    proxy: tuple[str, ...] = ()
    if command := first("proxycommand"):
        proxy = ("/bin/sh", "-c", "exec " + expand(command))
    elif jump := first("proxyjump"):
        proxy = _jump(jump, f"[{hostname}]:{chosen_port}", config)
    files = [identity_file] if identity_file else found.get("identityfile", [])
    names = tuple(os.path.expanduser(expand(name)) for name in files if name != "none")
    agent = found.get("identityagent", ["SSH_AUTH_SOCK"])[0]
    other = None if agent in ("none", "SSH_AUTH_SOCK") else os.path.expandvars(expand(agent))
    lists = [known_hosts] if known_hosts else _known_hosts(found)
    return SshTarget(
        hostname=hostname,
        port=chosen_port,
        user=login,
        identity_files=tuple(name for name in names if os.path.isfile(name)),
        identity_names=names,
        known_hosts=tuple(os.path.expanduser(expand(name)) for name in lists),
        host_key_alias=first("hostkeyalias"),
        proxy=proxy,
        use_agent=agent != "none",
        agent_socket=os.path.expanduser(other) if other else None,
        only_identities=first("identitiesonly") == "yes",
        connect_timeout=_seconds("ConnectTimeout", first("connecttimeout")) or 10.0,
        alive_interval=_seconds("ServerAliveInterval", first("serveraliveinterval"))
        or ALIVE_INTERVAL,
        alive_count=_count("ServerAliveCountMax", first("serveralivecountmax") or "3"),
    )


def _whole(key: str, text: str, least: int = 0) -> int:
    """A number of 16 bits; raises ``ConfigError``."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not least <= int(text) <= 65535:
        raise ConfigError(f"ssh's configuration: {key} {text[:60]!r} is no number that it takes")
    return int(text)


def _count(key: str, text: str) -> int:
    """A count as OpenSSH takes it, an ``int`` of C; no more than 65535 of it counts here.

    Raises ``ConfigError``.
    """
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) > 2**31 - 1:
        raise ConfigError(f"ssh's configuration: {key} {text[:60]!r} is no number that it takes")
    return min(max(1, int(text)), 65535)


def _seconds(key: str, text: str | None) -> float:
    """A time as in sshd_config(5), such as ``90`` or ``1m30s``; raises ``ConfigError``."""
    if text is None:
        return 0.0
    if not re.fullmatch(r"(?:[0-9]{1,6}[smhdwSMHDW]?){1,9}", text):
        raise ConfigError(f"ssh's configuration: {key} {text[:60]!r} is no time that it takes")
    parts = re.findall(r"([0-9]+)([a-z]?)", text.lower())
    return float(sum(int(count) * _UNITS[unit] for count, unit in parts))


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


def _openssh(
    host: str, config: str | None, port: int | None, user: str | None
) -> dict[str, list[str]]:
    options = ["-F", os.path.expanduser(config)] if config else []
    options += ["-p", str(port)] if port else []
    options += ["-l", user] if user else []
    command = ["ssh", "-G", *options, "--", host]
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
        text = path.read_text(encoding="utf-8", errors="replace")
        if "\0" in text:  # which no name of a file or host may have
            raise ConfigError(f"{path}: not a text file: it has a zero byte")
        entry = paramiko.SSHConfig.from_text(text).lookup(host)
    except (paramiko.SSHException, OSError) as error:
        raise ConfigError(f"{path}: {error}") from None
    return {key: value if isinstance(value, list) else [value] for key, value in entry.items()}
