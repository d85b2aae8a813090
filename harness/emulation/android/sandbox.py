"""Makes a process the first one of an emulated Android: namespaces of its own, no abilities.

In a user namespace an ordinary user may mount: the phone's folder becomes the root, this
machine's programs and libraries are bound read-only, the network is empty, and the only user is
2000, Android's ``shell``, which has no capabilities. When the first process ends, the kernel ends
all others; see pid_namespaces(7).
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from harness.emulation import linux
from harness.emulation.android.image import STATE, Image, host_libraries

#: Exit code of a device that wants to start again.
REBOOT = 64

#: Processes and threads that the device may have, where the kernel counts them by namespace.
MAX_PROCESSES = 1024

SHELL_UID = 2000


def enter(
    image: Image, run: Callable[[], int], *, listener: int, data_mb: int, temporary: bool
) -> NoReturn:
    """Become the device and run its daemon; never returns.

    The process must have a single thread. Everything the daemon imports must be imported: the
    files of Python are not on the device. ``listener`` is a file that only the daemon keeps, so
    that nobody is let in when it has ended. ``data_mb`` is the size of the data, 0 for the
    folder's own disk. A ``temporary`` folder is removed when all ends well. Raises
    ``OSError`` before the daemon runs, ``filename`` the step that is not allowed.
    """
    if child := os.fork():
        os.close(listener)
        # Stays outside, to clean up also where whoever started the device has been killed.
        _, status = os.waitpid(child, 0)
        if temporary and status == 0:
            shutil.rmtree(image.folder, ignore_errors=True)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    linux.control("die with the parent", linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    user, group = os.geteuid(), os.getegid()
    linux.unshare(
        linux.CLONE_NEWUSER | linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWNET
        | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
    )  # fmt: skip
    linux.map_ids(SHELL_UID, user, group)
    _mount(image, data_mb)
    failed = os.pipe()
    first = os.fork()
    if first:
        os.close(failed[1])
        os.close(listener)
        step = os.read(failed[0], 4096)
        _, status = os.waitpid(first, 0)
        if step:
            number, _, text = step.decode().partition(" ")
            raise OSError(int(number), os.strerror(int(number)), text)
        os._exit(os.waitstatus_to_exitcode(status) & 0xFF)
    try:
        os.close(failed[0])
        linux.control("die with the parent", linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        _change_root(image)
        _give_up_abilities()
    except OSError as error:
        os.write(failed[1], f"{error.errno} {error.filename}".encode())
        os._exit(1)
    os.close(failed[1])
    _be_init(run, listener)


def _mount(image: Image, data_mb: int) -> None:
    root = image.root
    read_only = linux.ATTR_RDONLY | linux.ATTR_NOSUID | linux.ATTR_NODEV
    linux.detach_mounts()
    linux.bind(root, root)
    for name in ("usr", *host_libraries()):
        if not (root / name).is_symlink():
            linux.bind(f"/{name}", root / name)
            linux.restrict(root / name, read_only)
    for source, name in ((image.sys, "sys"), (image.state, STATE.lstrip("/"))):
        linux.bind(source, root / name)
        linux.restrict(root / name, read_only)
    for path in image.governors():
        linux.bind(path, root / "sys" / path.relative_to(image.sys))
    if data_mb:
        options = f"size={data_mb}m,mode=0771"
        linux.mount("tmpfs", root / "data", "tmpfs", linux.MS_NOSUID | linux.MS_NODEV, options)
        for name in ("local/tmp", "media/0"):
            (root / "data" / name).mkdir(parents=True)
    else:
        linux.bind(image.data, root / "data")
        linux.restrict(root / "data", linux.ATTR_NOSUID | linux.ATTR_NODEV)
    linux.mount_devices(root / "dev")
    linux.restrict(root, linux.ATTR_RDONLY | linux.ATTR_NODEV, recursive=False)
    linux.restrict(root / "dev", linux.ATTR_RDONLY, recursive=False)


def _change_root(image: Image) -> None:
    """Leave this machine's files; done by the first process, whose /proc it is."""
    linux.mount_processes(image.root / "proc")
    linux.restrict(image.root / "proc", linux.ATTR_RDONLY)
    linux.enter_root(image.root)


def _give_up_abilities() -> None:
    linux.give_up_capabilities()
    # Commands have the same user: they shall not look into the daemon.
    linux.control("keep the memory private", linux.PR_SET_DUMPABLE, 0)
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
