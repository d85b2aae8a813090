"""How fast files travel over ssh."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from benchmarks.common import ROOT, Line, ratios
from harness.cache import file_sha256
from harness.devices.blobs import Blob
from harness.devices.session import Session
from harness.domain import Device, DeviceKind
from tests.support.shaped import Link, shaped_link, why_not
from tests.support.sshd import Sshd, start_sshd

SIZE = 64 << 20


def run(rounds: int) -> Iterator[Line]:
    """A verified push of 64 MB, with the connection made for it, over ``scp``; throughputs."""
    with tempfile.TemporaryDirectory(prefix="ssh-push-") as name:
        folder = Path(name)
        random, soft = folder / "random", folder / "soft"
        random.write_bytes(os.urandom(SIZE))
        # As compressible as text: about a third is left.
        soft.write_bytes(os.urandom(SIZE // 4).hex().encode() * 2)
        with start_sshd(folder / "loopback") as server:
            yield from compare(server, random, soft, rounds, "loopback", 0.8)
        if (reason := why_not()) is not None:
            print(f"  a link of 1 Gbit/s: not measured, {reason}")
            return
        for rate, bound in (("1gbit", 0.95), ("50mbit", 0.95)):
            few = rounds if rate == "1gbit" else min(rounds, 3)
            with shaped_link(rate) as link, contextlib.ExitStack() as stack:
                with link.device():
                    server = stack.enter_context(start_sshd(folder / rate, host=link.address))
                yield from compare(server, random, soft, few, rate, bound, link)


def compare(
    server: Sshd,
    random: Path,
    soft: Path,
    rounds: int,
    where: str,
    bound: float,
    link: Link | None = None,
) -> Iterator[Line]:
    """Rounds of ours, scp, and ours of a compressible file; then the repeated push."""
    device = device_of(server)
    within = link.host if link is not None else contextlib.nullcontext
    with within():
        ours, theirs, packed, theirs_soft, again = [], [], [], [], []
        push(device, random), scp(server, random)
        for _ in range(rounds):
            empty(server)
            ours.append(seconds(lambda: push(device, random)))
            again.append(seconds(lambda: push(device, random)))
            theirs.append(seconds(lambda: scp(server, random)))
            empty(server)
            packed.append(seconds(lambda: push(device, soft)))
            theirs_soft.append(seconds(lambda: scp(server, soft)))
    megabytes = SIZE / 1e6
    yield Line(f"{where}: scp, random", tuple(megabytes / t for t in theirs), 0, 1e9, " MB/s")
    yield Line(f"{where}: ours / scp, random", ratios(theirs, ours), bound, 1e9)
    yield Line(f"{where}: ours / scp, compressible", ratios(theirs_soft, packed), 0.7, 1e9)
    yield Line(f"{where}: a repeated push / scp, time", ratios(again, theirs), 0, 1.0)


def device_of(server: Sshd) -> Device:
    """A device behind the server."""
    return Device(
        name=f"board-{server.port}",
        kind=DeviceKind.REAL,
        transport="ssh",
        link={
            "host": server.host, "port": server.port, "user": server.user,
            "identity_file": str(server.key), "known_hosts": str(server.known_hosts),
            "python": sys.executable, "work_dir": str(server.folder / "device"),
        },
    )  # fmt: skip


def seconds(act: Callable[[], object]) -> float:
    """Wall time."""
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def push(device: Device, path: Path) -> None:
    """Connect, look, send, verify."""
    blob = Blob(path, sha256_of(path), SIZE, path.name)
    with Session(device, "benchmark") as session:
        session.push([blob], lambda *_: None)


@cache
def sha256_of(path: Path) -> str:
    """Known before a push, as it is of every variant."""
    return file_sha256(path)


def scp(server: Sshd, path: Path) -> None:
    """OpenSSH's own."""
    subprocess.run(
        ["scp", "-q", "-F", "none", "-P", str(server.port), "-i", str(server.key),
         "-o", f"UserKnownHostsFile={server.known_hosts}", str(path),
         f"{server.user}@{server.host}:{server.folder}/copied"],
        check=True, cwd=ROOT,
    )  # fmt: skip


def empty(server: Sshd) -> None:
    """As a device that has seen nothing."""
    shutil.rmtree(server.folder / "device", ignore_errors=True)
