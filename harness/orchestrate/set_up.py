"""What this machine has of what the harness can use: each check with what it is for."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from importlib import metadata, util

from harness.cache import cache_dir
from harness.domain import Check, Mark

#: Free space below which a night of conversions may fill the disk, bytes.
_DISK_WANTED = 5_000_000_000

#: Extra -> a module that tells whether it is installed, the distribution, what it is for.
_EXTRAS = {
    "convert": ("tensorflow", "tensorflow", "converting and quantizing models"),
    "report": ("plotly", "plotly", "HTML reports and Parquet files"),
    "accuracy": ("pycocotools", "pycocotools", "mAP of detectors"),
    "farm": ("psycopg", "psycopg", "results in PostgreSQL"),
}

#: Program -> what it is for, and where it comes from on Debian.
_PROGRAMS = {
    "ssh": ("reading ~/.ssh/config as OpenSSH does, jump hosts", "apt install openssh-client"),
    "adb": ("Android devices by USB", "apt install adb"),
    "cc": ("building the native agent for this machine", "apt install gcc libc6-dev"),
    "aarch64-linux-gnu-gcc": (
        "building the native agent for arm64 boards",
        "apt install gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    ),
    "edgetpu_compiler": ("the recipe edgetpu", "from Coral's package repository"),
    "qemu-aarch64-static": ("harness emulate linux-arm64", "apt install qemu-user-static"),
    "debootstrap": ("harness emulate linux-arm64", "apt install debootstrap"),
}


def examine_set_up() -> Iterator[Check]:
    """Python, packages, programs and disk; only what every command needs can be bad."""
    for check in _CHECKS:
        yield from check()


def _python() -> Iterator[Check]:
    yield Check("python", Mark.GOOD, f"{platform.python_version()} on {platform.platform()}")


def _runtime() -> Iterator[Check]:
    version = _version("ai-edge-litert")
    if version:
        yield Check("runtime", Mark.GOOD, f"ai-edge-litert {version}")
    else:
        yield Check(
            "runtime",
            Mark.BAD,
            "ai-edge-litert is not installed: nothing runs on this machine, and no output of a "
            "device is checked",
            "pip install ai-edge-litert",
        )


def _extras() -> Iterator[Check]:
    for extra, (module, distribution, purpose) in _EXTRAS.items():
        if util.find_spec(module) is not None:
            yield Check(extra, Mark.GOOD, f"{distribution} {_version(distribution)}")
        else:
            yield Check(
                extra, Mark.UNKNOWN, f"for {purpose}", f"pip install 'edge-harness[{extra}]'"
            )


def _programs() -> Iterator[Check]:
    for program, (purpose, source) in _PROGRAMS.items():
        path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if path:
            yield Check(program, Mark.GOOD, path)
        else:
            yield Check(program, Mark.UNKNOWN, f"for {purpose}", source)


def _cache() -> Iterator[Check]:
    folder = cache_dir()
    free = shutil.disk_usage(folder).free
    yield Check(
        "cache",
        Mark.GOOD if free > _DISK_WANTED else Mark.WARNING,
        f"{folder}, {free / 1e9:,.1f} GB free",
        "" if free > _DISK_WANTED else "set HARNESS_CACHE to a folder on another disk",
    )


_CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (
    _python,
    _runtime,
    _extras,
    _programs,
    _cache,
)


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
