"""The userland of an emulated arm64 Debian: made once, kept by what it is made of.

python -m harness.emulation.linux_arm64.root      make it now, for later

It needs the standard library alone. A root is a folder of its own that gets its name when it is
whole; one that was left unfinished is removed by the next that makes one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.cache import cache_dir, expanded, json_sha256
from harness.emulation.linux_arm64 import binfmt, cpu, held, packages, unpack
from harness.emulation.linux_arm64.inside import Spec
from harness.emulation.target import Tell
from harness.errors import HarnessError, MissingToolError

#: Raised when roots are made in another way.
_VERSION = 1
_NEEDED_BYTES = 900_000_000

#: What every agent loads: compiled once, and the proof that the root works.
_FIRST_STEPS = (
    "import argparse, base64, gc, hashlib, json, platform, re, shutil, tempfile, threading, "
    "numpy, ai_edge_litert.interpreter, sys; print(platform.machine(), sys.version)"
)


def folder() -> Path:
    """Where roots are kept: ``$HARNESS_EMULATION_ROOTS``, else in the cache."""
    chosen = os.environ.get("HARNESS_EMULATION_ROOTS")
    if not chosen:
        return cache_dir("emulation")
    path = expanded(chosen)
    path.mkdir(parents=True, exist_ok=True)
    return path.resolve()


def find_root() -> Path:
    """The root's folder, whether it is there or not."""
    key = json_sha256(
        [_VERSION, packages.SUITE, packages.INCLUDED, packages.EXCLUDED,
         packages.WHEELS.read_text(encoding="utf-8"), _FIRST_STEPS]
    )  # fmt: skip
    return folder() / f"linux-arm64-{key[:16]}"


def check_machine() -> str:
    """QEMU's path; raises ``MissingToolError`` with what to install."""
    if sys.platform != "linux" or os.uname().machine == "aarch64":
        raise MissingToolError(
            "linux-arm64 is emulated on Linux machines of another kind only",
            hint="a machine that is arm64 itself needs no emulation: device local",
        )
    absent = packages.missing()
    qemu = binfmt.find_qemu()
    if qemu is None:
        absent.append("qemu-user-static")
    if qemu is None or absent:
        raise MissingToolError(
            "an emulated arm64 Linux needs what is not installed: " + ", ".join(absent),
            hint=f"as root: apt install {' '.join(absent)}",
        )
    return qemu


def ensure_root(tell: Tell) -> Path:
    """The root, made if it is not there; one process makes it, others wait."""
    qemu = check_machine()
    target = find_root()
    if target.is_dir():
        return target
    with _alone(target, tell):
        if target.is_dir():
            return target
        free = shutil.disk_usage(target.parent).free
        if free < _NEEDED_BYTES:
            raise HarnessError(
                f"an arm64 root needs {_NEEDED_BYTES / 1e6:.0f} MB in {target.parent}, "
                f"and {free / 1e6:.0f} MB are free",
                hint="free some space, or set HARNESS_EMULATION_ROOTS to another folder",
            )
        _make(target, qemu, tell)
    return target


@contextlib.contextmanager
def _alone(target: Path, tell: Tell) -> Iterator[None]:
    """A lock that the kernel drops with its owner."""
    with open(target.with_suffix(".lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("another process makes the arm64 root; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(target: Path, qemu: str, tell: Tell) -> None:
    for left in target.parent.glob(f"{target.name}.part-*"):
        shutil.rmtree(left, ignore_errors=True)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(
        prefix=f"{target.name}.part-", dir=target.parent, ignore_cleanup_errors=True
    ) as name:
        part = Path(name)
        root, wheels = part / "root", part / "wheels"
        root.mkdir()
        tell("making an arm64 root, once: Debian's packages by debootstrap, wheels by pip")
        with ThreadPoolExecutor(1) as pool:
            getting = pool.submit(packages.download_wheels, wheels)
            debian = packages.download_debian(part / "debian", tell)
            tell(f"unpacking {len(debian)} packages")
            unpack.debian_packages(debian, root)
            unpack.wheels(getting.result(), root)
        tell("first steps of the arm64 Python")
        _first_steps(root, qemu)
        root.rename(target)
    tell(f"the arm64 root is ready after {time.monotonic() - begin:.0f} s: {target}")


def _first_steps(root: Path, qemu: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".cpuinfo") as described:
        described.write(cpu.cpuinfo(cpu.DEFAULT))
        described.flush()
        spec = Spec(
            ["/usr/bin/python3", "-c", _FIRST_STEPS],
            environment={"PATH": "/usr/bin:/bin", "QEMU_CPU": cpu.DEFAULT, "LC_ALL": "C.UTF-8"},
            root=str(root), writable=True, cpuinfo=described.name, qemu=qemu,
        )  # fmt: skip
        code, said = held.run(spec)
    if code != 0 or not said.startswith("aarch64"):
        raise held.failure("the arm64 Python", code, said)


def main() -> None:
    """Make the root, telling how far it is."""

    def tell(text: str) -> None:
        sys.stderr.write(f"{text}\n")

    try:
        ensure_root(tell)
    except HarnessError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
