"""The few calls of Linux that Python's library lacks: namespaces, mounts, abilities.

Each raises ``OSError`` whose ``filename`` is the step that the system does not allow. Sources:
user_namespaces(7), mount_namespaces(7), pivot_root(2), mount_setattr(2), prctl(2), capabilities(7).
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_REMOUNT = 0x20
MS_NOATIME = 0x400
MS_NODIRATIME = 0x800
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_RELATIME = 0x200000

ATTR_RDONLY = 1
ATTR_NOSUID = 2
ATTR_NODEV = 4

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38

_MNT_DETACH = 2
_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_SYS_MOUNT_SETATTR = 442  # the same on all machines
_CAPABILITY_VERSION_3 = 0x20080522

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {
    "ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
}  # fmt: skip

_libc = ctypes.CDLL(None, use_errno=True)


def _call(step: str, name: str, *arguments: object) -> None:
    given = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    if getattr(_libc, name)(*given) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), step)


def unshare(flags: int) -> None:
    """Leave namespaces of the parent; see unshare(2)."""
    _call("make namespaces", "unshare", flags)


def mount(
    source: Path | str, target: Path | str, kind: str = "", flags: int = 0, data: str = ""
) -> None:
    """See mount(2)."""
    _call(
        f"mount {kind or source} on {target}", "mount", os.fsencode(source), os.fsencode(target),
        kind.encode() or None, flags, data.encode() or None,
    )  # fmt: skip


def bind(source: Path | str, target: Path | str) -> None:
    """Show a file, or a folder with all that is mounted below it, at another place too."""
    mount(source, target, flags=MS_BIND | MS_REC)


def detach_mounts() -> None:
    """What is mounted from now on in this namespace is not seen outside."""
    mount("none", "/", flags=MS_REC | MS_PRIVATE)


def restrict(target: Path | str, attributes: int, *, recursive: bool = True) -> None:
    """Add attributes (``ATTR_``) to what is mounted there; those that it has stay. Linux 5.12."""
    settings = struct.pack("<4Q", attributes, 0, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    _call(f"restrict {target}", "syscall", _SYS_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target),
          flags, settings, len(settings))  # fmt: skip


def mount_processes(place: Path) -> None:
    """A /proc of this PID namespace; inside of containers that forbid it, the one outside."""
    try:
        mount("proc", place, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:
        bind("/proc", place)


def mount_devices(place: Path) -> None:
    """A /dev with the harmless devices of this machine, and terminals of its own."""
    mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=1m,mode=0755")
    for name in _DEVICES:
        if os.path.exists(f"/dev/{name}"):
            (place / name).touch()
            bind(f"/dev/{name}", place / name)
    for name in ("pts", "shm"):
        (place / name).mkdir()
    mount("devpts", place / "pts", "devpts", MS_NOSUID | MS_NOEXEC,
          "newinstance,ptmxmode=0666,mode=0620")  # fmt: skip
    mount("tmpfs", place / "shm", "tmpfs", MS_NOSUID | MS_NODEV, "size=64m,mode=1777")
    for name, target in _LINKS.items():
        (place / name).symlink_to(target)


def enter_root(root: Path | str) -> None:
    """Make a mount point the root, and forget the old one; see pivot_root(2), "." for both."""
    os.chdir(root)
    _call("change the root", "pivot_root", b".", b".")
    _call("leave the old root", "umount2", b".", _MNT_DETACH)
    os.chdir("/")


def set_host_name(name: str) -> None:
    """See sethostname(2)."""
    text = name.encode()
    _call("set the host's name", "sethostname", text, len(text))


def map_ids(inner: int, uid: int, gid: int) -> None:
    """In a user namespace just made: ``inner`` is what was ``uid`` and ``gid``, alone."""
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"{inner} {uid} 1"), ("gid_map", f"{inner} {gid} 1")
    ):  # fmt: skip
        Path("/proc/self", name).write_text(text)


def control(step: str, option: int, value: int) -> None:
    """See prctl(2); ``option`` is a ``PR_``."""
    _call(step, "prctl", option, value, 0, 0, 0)


def give_up_capabilities() -> None:
    """For good: those of this process and of all that it starts."""
    control("give up privileges", PR_SET_NO_NEW_PRIVS, 1)
    head = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    _call("give up capabilities", "capset", head, bytes(24))
