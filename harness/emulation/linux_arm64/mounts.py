"""What a root sees of this machine: its devices, its processes, /sys; all in private mounts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.emulation import linux
from harness.emulation.linux_arm64 import binfmt

#: Flags that a mount of another user's must keep when it is changed.
_LOCKED = {
    "ro": linux.MS_RDONLY, "nosuid": linux.MS_NOSUID, "nodev": linux.MS_NODEV,
    "noexec": linux.MS_NOEXEC, "noatime": linux.MS_NOATIME,
    "nodiratime": linux.MS_NODIRATIME, "relatime": linux.MS_RELATIME,
}  # fmt: skip


def build(
    root: Path, folders: Mapping[str, str], cpuinfo: str, qemu: str, *, writable: bool
) -> bool:
    """Mount all of it below ``root``, which becomes a mount point, in this mount namespace.

    ``folders`` are those of this machine by their place inside. Whether arm64 programs can run:
    by ``qemu``, registered for this user namespace alone, else by what this machine has.
    """
    linux.detach_mounts()
    linux.bind(root, root)
    linux.mount_processes(root / "proc")
    linux.bind("/sys", root / "sys")
    linux.mount_devices(root / "dev")
    for place, mode in (("tmp", "1777"), ("var/tmp", "1777"), ("run", "755")):
        linux.mount("tmpfs", root / place, "tmpfs", data=f"mode={mode}")
    for place, folder in folders.items():
        linux.mount(folder, root / place.lstrip("/"), flags=linux.MS_BIND)
    if cpuinfo:
        linux.bind(cpuinfo, root / "proc" / "cpuinfo")
    found = _register(root, qemu)
    if not writable:
        flags = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_RDONLY
        linux.mount("none", root, flags=flags | _flags(root))
    return found


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
