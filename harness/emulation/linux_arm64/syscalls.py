"""The few calls of Linux that Python's library lacks: namespaces, mounts, pivot_root."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

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

_MNT_DETACH = 2
_SYS_PIVOT_ROOT = {"x86_64": 155, "ppc64le": 203, "riscv64": 41, "s390x": 217}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def unshare(flags: int) -> None:
    """Leave namespaces of the parent; see unshare(2)."""
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """See mount(2)."""
    _check(
        _libc.mount(
            source.encode(), os.fsencode(target), kind.encode() or None,
            ctypes.c_ulong(flags), data.encode() or None,
        ),
        f"mount {target}",
    )  # fmt: skip


def enter_root(root: str) -> None:
    """Make a mount point the root, and forget the old one; see pivot_root(2), "." for both."""
    os.chdir(root)
    number = _SYS_PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(ctypes.c_long(number), b".", b"."), f"pivot_root {root}")
    _check(_libc.umount2(b".", ctypes.c_int(_MNT_DETACH)), "umount of the old root")
    os.chdir("/")


def set_host_name(name: str) -> None:
    """See sethostname(2)."""
    text = name.encode()
    _check(_libc.sethostname(text, ctypes.c_size_t(len(text))), "sethostname")


def map_ids(inner: int, uid: int, gid: int) -> None:
    """In a user namespace just made: ``inner`` is what was ``uid`` and ``gid``, alone."""
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"{inner} {uid} 1"), ("gid_map", f"{inner} {gid} 1")
    ):  # fmt: skip
        with open(f"/proc/self/{name}", "w") as stream:
            stream.write(text)
