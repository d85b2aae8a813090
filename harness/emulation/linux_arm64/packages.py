"""Debian's packages by debootstrap, the wheels by pip: both checked by signature or hash."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from harness.emulation.linux_arm64 import held
from harness.emulation.linux_arm64.inside import Spec
from harness.emulation.target import Tell
from harness.errors import HarnessError, MissingToolError

SUITE = "bookworm"
INCLUDED = ("libstdc++6", "openssh-server", "openssh-sftp-server", "procps", "python3")
#: Of Debian's base, what a root without an installation has no use for.
EXCLUDED = ("apt", "e2fsprogs", "sysvinit-utils", "tzdata")
WHEELS = Path(__file__).with_name("wheels.txt")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux_2_17_aarch64",
              "manylinux2014_aarch64")  # fmt: skip


def missing() -> list[str]:
    """Debian's names of what is needed on this machine and is not there."""
    found = []
    for program, package in (
        ("debootstrap", "debootstrap"), ("dpkg-deb", "dpkg"), ("tar", "tar"), ("gpgv", "gpgv"),
    ):  # fmt: skip
        if _program(program) is None:
            found.append(package)
    if not _KEYRING.is_file():
        found.append("debian-archive-keyring")
    return found


def _program(name: str) -> str | None:
    path = os.environ.get("PATH", os.defpath)
    return shutil.which(name, path=f"{path}:/usr/sbin:/sbin")


def download_debian(folder: Path, tell: Tell) -> list[Path]:
    """Debootstrap's choice of packages, below ``folder``; their signatures are checked."""
    program = _program("debootstrap")
    assert program is not None
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    spec = Spec(
        [program, "--download-only", "--arch=arm64", "--variant=minbase", "--force-check-gpg",
         f"--keyring={_KEYRING}", f"--include={','.join(INCLUDED)}",
         f"--exclude={','.join(EXCLUDED)}", SUITE, str(folder)],
        # As in a container it makes no device nodes, which an ordinary user could not.
        environment={**os.environ, "PATH": path, "container": "lxc", "LC_ALL": "C"},
    )  # fmt: skip
    count = 0

    def listen(text: str) -> None:
        nonlocal count
        if text.startswith("I: Retrieving "):
            count += 1
            if count % 25 == 0:
                tell(f"  {count} packages")

    code, said = held.run(spec, listen)
    found = sorted((folder / "var" / "cache" / "apt" / "archives").glob("*.deb"))
    if code != 0 or not found:
        error = held.failure("debootstrap", code, said)
        if not isinstance(error, MissingToolError):
            error.hint = "is Debian's archive reached from here? http_proxy is honoured"
        raise error
    return found


def download_wheels(folder: Path) -> list[Path]:
    """The pinned wheels for arm64, which pip checks by their hashes."""
    platforms = [f"--platform={name}" for name in _PLATFORMS]
    arguments = [
        "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:",
        "--require-hashes", *platforms, "--python-version=3.11", "--implementation=cp",
        "--abi=cp311", "-r", str(WHEELS), "-d", str(folder),
    ]  # fmt: skip
    first = ""
    for pip in _pips():
        code, said = held.run(Spec([*pip, *arguments], environment=dict(os.environ)))
        if code == 0:
            return sorted(folder.glob("*.whl"))
        first = first or said
    last = " | ".join(first.strip().splitlines()[-3:])
    raise HarnessError(f"pip could not get the wheels for arm64: {last}")


def _pips() -> Sequence[list[str]]:
    """Pip of this Python, or one of the path where this has none."""
    found = [[sys.executable, "-m", "pip"]]
    if (other := shutil.which("pip3") or shutil.which("pip")) is not None:
        found.append([other])
    return found
