"""Two network namespaces and a link of a given rate between them; needs root."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

_CLONE_NEWNET = 0x40000000  # sched.h; os.setns only since Python 3.12


@dataclass(frozen=True)
class Link:
    """A host's end and a device's end; a thread enters one, and so do its child processes."""

    here: str
    there: str
    address: str

    @contextlib.contextmanager
    def host(self) -> Iterator[None]:
        """This thread at the host's end."""
        with _inside(self.here):
            yield

    @contextlib.contextmanager
    def device(self) -> Iterator[None]:
        """This thread at the device's end, whose address is ``address``."""
        with _inside(self.there):
            yield


def why_not() -> str | None:
    """What is missing for a shaped link here, or ``None``."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "tc"):
        if shutil.which(program) is None:
            return f"there is no {program} (Debian: iproute2)"
    tried = subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "network namespaces are not allowed here"


@contextlib.contextmanager
def shaped_link(rate: str, delay_ms: float = 0) -> Iterator[Link]:
    """A link shaped by ``tc ... tbf`` in both directions; gone with the block."""
    mark = secrets.token_hex(3)
    ends = {"here": f"eh{mark}a", "there": f"eh{mark}b"}
    addresses = {"here": "10.213.7.1", "there": "10.213.7.2"}
    try:
        for name in ends.values():
            _run("ip", "netns", "add", name)
        _run("ip", "link", "add", ends["here"], "netns", ends["here"], "type", "veth",
             "peer", "name", ends["there"], "netns", ends["there"])  # fmt: skip
        for end, name in ends.items():
            ip = ("ip", "-n", name)
            _run(*ip, "address", "add", f"{addresses[end]}/24", "dev", name)
            _run(*ip, "link", "set", name, "up")
            _run(*ip, "link", "set", "lo", "up")
            tc = ("tc", "-n", name, "qdisc", "add", "dev", name)
            _run(*tc, "root", "handle", "1:", "tbf", "rate", rate, "burst", "256kb",
                 "latency", "50ms")  # fmt: skip
            if delay_ms:
                _run(*tc, "parent", "1:1", "netem", "delay", f"{delay_ms}ms", "limit", "10000")
        yield Link(ends["here"], ends["there"], addresses["there"])
    finally:
        for name in ends.values():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def _inside(name: str) -> Iterator[None]:
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(path: str | int) -> None:
        file = os.open(path, os.O_RDONLY) if isinstance(path, str) else path
        try:
            if libc.setns(file, _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(file)

    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    enter(f"/run/netns/{name}")
    try:
        yield
    finally:
        enter(before)
