"""``~/.ssh/config``, as it is read where there is no ``ssh``, and lists of known hosts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

import paramiko

from fuzz.places import written
from fuzz.target import Target
from harness.errors import HarnessError
from harness.transports import ssh_config
from harness.transports.ssh_host_keys import load_known_hosts


def _run(data: bytes) -> None:
    path = str(written("ssh", data))
    before = os.environ.get("PATH", "")
    os.environ["PATH"] = ""  # where no ssh is found
    try:
        for host in ("board", "me@other"):
            with contextlib.suppress(HarnessError):
                found = ssh_config.resolve(host, config=path)
                assert found.hostname and 0 < found.port < 65536 and found.connect_timeout > 0
    finally:
        os.environ["PATH"] = before
    load_known_hosts(paramiko.HostKeys(), [path])


def _seeds() -> Sequence[bytes]:
    key = b"AAAAC3NzaC1lZDI1NTE5AAAAIAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"
    return [
        b"Host board other*\n  HostName 192.168.0.%p\n  Port 2222\n  User me\n"
        b"  IdentityFile ~/.ssh/%h_%r\n  IdentitiesOnly yes\n  ProxyJump me@jump:22,last\n"
        b"  ServerAliveInterval 15\n  ServerAliveCountMax 3\n  ConnectTimeout 5\n"
        b"  UserKnownHostsFile ~/a ~/b\n  IdentityAgent $SOCKET\n  HostKeyAlias board\n"
        b"Host *\n  ProxyCommand nc %h %p\n",
        b"board ssh-ed25519 %s me\n@revoked * ssh-ed25519 %s\n[board]:2222,10.0.0.1 ssh-ed25519 %s\n"
        b"|1|AAAAAAAAAAAAAAAAAAAAAAAAAAA=|AAAAAAAAAAAAAAAAAAAAAAAAAAA= ssh-ed25519 %s\n"
        b"@cert-authority * ssh-ed25519 %s\n# comment\n" % ((key,) * 5),
    ]


TARGET = Target(
    _run,
    _seeds,
    kind="text",
    max_bytes=4096,
    tokens=(
        b"Host ",
        b"Port ",
        b"%h",
        b"%%",
        b"none",
        b"5m",
        b"=",
        b'"',
        b"|1|",
        b"@revoked ",
        b"ssh-rsa ",
    ),
)
