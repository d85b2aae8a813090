"""What a root sees of this machine: its devices, its processes, /sys; all in private mounts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from harness.emulation.linux_arm64 import binfmt, syscalls

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

#: Flags that a mount of another user's must keep when it is changed.
_LOCKED = {
    "ro": syscalls.MS_RDONLY, "nosuid": syscalls.MS_NOSUID, "nodev": syscalls.MS_NODEV,
    "noexec": syscalls.MS_NOEXEC, "noatime": syscalls.MS_NOATIME,
    "nodiratime": syscalls.MS_NODIRATIME, "relatime": syscalls.MS_RELATIME,
}  # fmt: skip


def build(
    root: Path, folders: Mapping[str, str], cpuinfo: str, qemu: str, *, writable: bool
) -> bool:
    """Mount all of it below ``root``, which becomes a mount point, in this mount namespace.

    ``folders`` are those of this machine by their place inside. Whether arm64 programs can run:
    by ``qemu``, registered for this user namespace alone, else by what this machine has.
    """
    private = syscalls.MS_REC | syscalls.MS_PRIVATE
    syscalls.mount("none", "/", flags=private)
    syscalls.mount(str(root), str(root), flags=syscalls.MS_BIND | syscalls.MS_REC)
    _processes(root / "proc")
    syscalls.mount("/sys", str(root / "sys"), flags=syscalls.MS_BIND | syscalls.MS_REC)
    _devices(root / "dev")
    for place, mode in (("tmp", "1777"), ("var/tmp", "1777"), ("run", "755")):
        syscalls.mount("tmpfs", str(root / place), "tmpfs", data=f"mode={mode}")
    for place, folder in folders.items():
        syscalls.mount(folder, str(root / place.lstrip("/")), flags=syscalls.MS_BIND)
    if cpuinfo:
        syscalls.mount(cpuinfo, str(root / "proc" / "cpuinfo"), flags=syscalls.MS_BIND)
    found = _register(root, qemu)
    if not writable:
        flags = syscalls.MS_REMOUNT | syscalls.MS_BIND | syscalls.MS_RDONLY
        syscalls.mount("none", str(root), flags=flags | _flags(root))
    return found


def _processes(place: Path) -> None:
    try:
        syscalls.mount("proc", str(place), "proc")
    except OSError:
        # In containers that hide parts of /proc nobody gets a new one; theirs will do.
        syscalls.mount("/proc", str(place), flags=syscalls.MS_BIND | syscalls.MS_REC)


def _devices(place: Path) -> None:
    syscalls.mount("tmpfs", str(place), "tmpfs", data="mode=755")
    for name in (name for name in _DEVICES if os.path.exists(f"/dev/{name}")):
        (place / name).touch()
        syscalls.mount(f"/dev/{name}", str(place / name), flags=syscalls.MS_BIND)
    for name in ("pts", "shm"):
        (place / name).mkdir()
    syscalls.mount("devpts", str(place / "pts"), "devpts", data="newinstance,ptmxmode=0666")
    syscalls.mount("tmpfs", str(place / "shm"), "tmpfs", data="mode=1777")
    for name, target in (
        ("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2"),
    ):  # fmt: skip
        (place / name).symlink_to(target)


def _register(root: Path, qemu: str) -> bool:
    if qemu:
        try:
            binfmt.register(root / "proc" / "sys" / "fs" / "binfmt_misc", qemu)
        except OSError:
            pass
        else:
            return True
    return binfmt.registered()


def _flags(point: Path) -> int:
    """The flags of the newest mount at ``point``, of those that may not be dropped."""
    flags = 0
    with open("/proc/self/mountinfo") as stream:
        for line in stream:
            words = line.split()
            if words[4].replace("\\040", " ") == str(point):
                flags = sum(_LOCKED.get(word, 0) for word in words[5].split(","))
    return flags
