"""Makes a process the first one of an emulated Android: namespaces of its own, no abilities.

In a user namespace an ordinary user may mount: the phone's folder becomes the root, this
machine's programs and libraries are bound read-only, the network is empty, and the only user is
2000, Android's ``shell``, which has no capabilities. When the first process ends, the kernel ends
all others. Sources: user_namespaces(7), mount_namespaces(7), pid_namespaces(7), pivot_root(2),
mount_setattr(2), capabilities(7).
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import signal
import struct
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from harness.emulation.android.image import STATE, Image, host_libraries

#: Exit code of a device that wants to start again.
REBOOT = 64

#: Processes and threads that the device may have, where the kernel counts them by namespace.
MAX_PROCESSES = 1024

SHELL_UID = 2000

_CLONE_NEWNS, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
_CLONE_NEWUSER, _CLONE_NEWPID, _CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC = 2, 4, 8, 4096, 16384
_MS_PRIVATE = 1 << 18
_MNT_DETACH = 2
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_SYS_MOUNT_SETATTR = 442  # the same on all machines
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV = 1, 2, 4
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CAPABILITY_VERSION_3 = 0x20080522

_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


class SandboxError(OSError):
    """What the system does not allow; ``args`` are number and text, ``filename`` the step."""


class _Libc:
    """System calls that Python has no function for."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)

    def __call__(self, step: str, name: str, *arguments: object) -> None:
        given = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
        if getattr(self._libc, name)(*given) < 0:
            number = ctypes.get_errno()
            raise SandboxError(number, os.strerror(number), step)

    def mount(self, source: str, target: Path | str, kind: str, flags: int, data: str = "") -> None:
        step = f"mount {kind or source} on {target}"
        self(step, "mount", source.encode(), os.fsencode(target), kind.encode(), flags,
             data.encode())  # fmt: skip

    def bind(self, source: Path | str, target: Path | str) -> None:
        self.mount(str(source), target, "", _MS_BIND | _MS_REC)

    def restrict(self, target: Path | str, attributes: int, *, recursive: bool = True) -> None:
        """Add attributes to what is mounted there; those that it has stay."""
        settings = struct.pack("<4Q", attributes, 0, 0, 0)
        flags = _AT_RECURSIVE if recursive else 0
        self(f"restrict {target}", "syscall", _SYS_MOUNT_SETATTR, _AT_FDCWD, os.fsencode(target),
             flags, settings, len(settings))  # fmt: skip


def enter(
    image: Image, run: Callable[[], int], *, listener: int, data_mb: int, temporary: bool
) -> NoReturn:
    """Become the device and run its daemon; never returns.

    The process must have a single thread. Everything the daemon imports must be imported: the
    files of Python are not on the device. ``listener`` is a file that only the daemon keeps, so
    that nobody is let in when it has ended. ``data_mb`` is the size of the data, 0 for the
    folder's own disk. A ``temporary`` folder is removed when all ends well. Raises
    ``SandboxError`` before the daemon runs.
    """
    libc = _Libc()
    if child := os.fork():
        os.close(listener)
        # Stays outside, to clean up also where whoever started the device has been killed.
        _, status = os.waitpid(child, 0)
        if temporary and status == 0:
            shutil.rmtree(image.folder, ignore_errors=True)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    libc("die with the parent", "prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)
    user, group = os.geteuid(), os.getegid()
    libc(
        "make namespaces", "unshare",
        _CLONE_NEWUSER | _CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWNET | _CLONE_NEWIPC
        | _CLONE_NEWUTS,
    )  # fmt: skip
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{SHELL_UID} {user} 1"),
        ("gid_map", f"{SHELL_UID} {group} 1"),
    ):
        try:
            Path("/proc/self", name).write_text(text)
        except OSError as error:
            raise SandboxError(error.errno, error.strerror, f"write {name}") from None
    _mount(libc, image, data_mb)
    failed = os.pipe()
    first = os.fork()
    if first:
        os.close(failed[1])
        os.close(listener)
        step = os.read(failed[0], 4096)
        _, status = os.waitpid(first, 0)
        if step:
            number, _, text = step.decode().partition(" ")
            raise SandboxError(int(number), os.strerror(int(number)), text)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    try:
        os.close(failed[0])
        libc("die with the parent", "prctl", _PR_SET_PDEATHSIG, signal.SIGKILL)
        _change_root(libc, image)
        _give_up_abilities(libc)
    except SandboxError as error:
        os.write(failed[1], f"{error.errno} {error.filename}".encode())
        os._exit(1)
    os.close(failed[1])
    _be_init(run, listener)


def _mount(libc: _Libc, image: Image, data_mb: int) -> None:
    root = image.root
    libc.mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    libc.bind(root, root)
    for name in ("usr", *host_libraries()):
        if not (root / name).is_symlink():
            libc.bind(f"/{name}", root / name)
            libc.restrict(root / name, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV)
    for source, name in ((image.sys, "sys"), (image.state, STATE.lstrip("/"))):
        libc.bind(source, root / name)
        libc.restrict(root / name, _ATTR_RDONLY | _ATTR_NOSUID | _ATTR_NODEV)
    for path in image.governors():
        libc.bind(path, root / "sys" / path.relative_to(image.sys))
    if data_mb:
        options = f"size={data_mb}m,mode=0771"
        libc.mount("tmpfs", root / "data", "tmpfs", _MS_NOSUID | _MS_NODEV, options)
        for name in ("local/tmp", "media/0"):
            (root / "data" / name).mkdir(parents=True)
    else:
        libc.bind(image.data, root / "data")
        libc.restrict(root / "data", _ATTR_NOSUID | _ATTR_NODEV)
    device = root / "dev"
    libc.mount("tmpfs", device, "tmpfs", _MS_NOSUID | _MS_NOEXEC, "size=1m,mode=0755")
    for name in _DEVICES:
        if os.path.exists(f"/dev/{name}"):
            (device / name).touch()
            libc.bind(f"/dev/{name}", device / name)
    (device / "pts").mkdir()
    libc.mount("devpts", device / "pts", "devpts", _MS_NOSUID | _MS_NOEXEC,
               "newinstance,ptmxmode=0666,mode=0620")  # fmt: skip
    (device / "ptmx").symlink_to("pts/ptmx")
    (device / "fd").symlink_to("/proc/self/fd")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        (device / name).symlink_to(f"/proc/self/fd/{number}")
    (device / "shm").mkdir()
    libc.mount("tmpfs", device / "shm", "tmpfs", _MS_NOSUID | _MS_NODEV, "size=64m,mode=1777")
    libc.restrict(root, _ATTR_RDONLY | _ATTR_NODEV, recursive=False)
    libc.restrict(device, _ATTR_RDONLY, recursive=False)


def _change_root(libc: _Libc, image: Image) -> None:
    """Leave this machine's files; done by the first process, whose /proc it is."""
    proc = image.root / "proc"
    try:
        libc.mount("proc", proc, "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    except SandboxError:
        # Inside of a container: the numbers of processes will be those outside.
        libc.bind("/proc", proc)
    libc.restrict(proc, _ATTR_RDONLY)
    os.chdir(image.root)
    libc("change the root", "pivot_root", b".", b".")
    libc("leave the old root", "umount2", b".", _MNT_DETACH)
    os.chdir("/")


def _give_up_abilities(libc: _Libc) -> None:
    libc("give up privileges", "prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    head = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    libc("give up capabilities", "capset", head, bytes(24))
    # Commands have the same user: they shall not look into the daemon.
    libc("keep the memory private", "prctl", _PR_SET_DUMPABLE, 0, 0, 0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NPROC)
    if most == resource.RLIM_INFINITY or most > MAX_PROCESSES:
        resource.setrlimit(resource.RLIMIT_NPROC, (MAX_PROCESSES, MAX_PROCESSES))


def _be_init(run: Callable[[], int], listener: int) -> NoReturn:
    """Run the daemon and take care of orphans until it ends."""

    def reboot(number: int, frame: FrameType | None) -> None:
        os._exit(REBOOT)

    signal.signal(signal.SIGUSR1, reboot)
    daemon = os.fork()
    if not daemon:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        os._exit(run())
    os.close(listener)
    while True:
        ended, status = os.wait()
        if ended == daemon:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
