"""Files out of Debian packages and wheels, and what a Debian's installation would add.

No maintainer script is run: the second stage of an installation takes minutes under QEMU and
needs more than one user; files, an interpreter and a server need neither.
"""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.errors import HarnessError

#: Documentation and translations, which are half of all files.
_LEFT_OUT = ("./usr/share/doc/*", "./usr/share/man/*", "./usr/share/locale/*",
             "./usr/share/info/*", "./usr/share/i18n/*", "./usr/share/perl5/*",
             "./usr/share/bash-completion/*", "./usr/share/lintian/*")  # fmt: skip

#: Where Debian's Python finds what does not come from Debian.
PACKAGES = "usr/local/lib/python3.11/dist-packages"

#: A wheel's parts that no agent loads: 17 MB for GPUs.
_UNUSED = ("libLiteRtWebGpuAccelerator.so",)

_LINKS = {"usr/bin/awk": "mawk", "usr/bin/sh": "dash", "usr/bin/which": "which.debianutils",
          "usr/bin/python": "python3"}  # fmt: skip
_FOLDERS = ("dev", "proc", "sys", "run", "tmp", "var/tmp", "root", "etc/ssh", "home/edge")
_FILES = {
    "etc/passwd": "root:*:0:0:root:/root:/bin/bash\n"
    "edge:*:1000:1000:Emulated device:/home/edge:/bin/bash\n"
    "sshd:*:100:65534::/run/sshd:/usr/sbin/nologin\n"
    "nobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nedge:x:1000:\nnogroup:x:65534:\n",
    "etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "etc/hostname": "emulated-arm64\n",
}


def debian_packages(packages: Sequence[Path], root: Path) -> None:
    """Unpack all of them into an empty folder, on every core."""
    for name in ("bin", "sbin", "lib"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(lambda path: _package(path, root), packages))
    for folder in _FOLDERS:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for name, target in _LINKS.items():
        if not (root / name).is_symlink() and (root / name).parent.joinpath(target).exists():
            (root / name).symlink_to(target)
    for name, text in _FILES.items():
        (root / name).write_text(text, encoding="utf-8")


def _package(path: Path, root: Path) -> None:
    left_out = [f"--exclude={pattern}" for pattern in _LEFT_OUT]
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as reader:  # fmt: skip
        written = subprocess.run(
            ["tar", "-x", "-C", str(root), "--no-same-owner", "--keep-directory-symlink",
             *left_out],
            stdin=reader.stdout, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if reader.returncode != 0 or written.returncode != 0:
        raise HarnessError(
            f"cannot unpack {path.name}: {written.stderr.strip() or 'dpkg-deb refused it'}"
        )


def wheels(files: Sequence[Path], root: Path) -> None:
    """Unpack wheels where the root's Python finds them."""
    target = root / PACKAGES
    target.mkdir(parents=True, exist_ok=True)
    for path in files:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.rsplit("/", 1)[-1] not in _UNUSED]
            archive.extractall(target, names)
