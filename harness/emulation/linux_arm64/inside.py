"""A process that starts a command in namespaces of its own, and ends all of it with its stdin.

python -m harness.emulation.linux_arm64.inside SPEC

Three processes: the one that is started waits outside and tidies up; its child is process 1 of
a PID namespace, so that nothing that it has started outlives it; the grandchild is the command.
Process 1 ends when its standard input is closed, which also happens when the one that holds the
other end is killed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import shutil
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.emulation import linux
from harness.emulation.linux_arm64 import mounts

#: Who the command is inside, if not root.
USER_ID = 1000


@dataclass(frozen=True)
class Spec:
    """What to start and where; ``root`` "" is this machine's own."""

    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    user_id: int = 0
    root: str = ""
    writable: bool = False
    folders: dict[str, str] = field(default_factory=dict)
    cpuinfo: str = ""
    qemu: str = ""
    host_name: str = ""
    remove: str = ""

    def text(self) -> str:
        """For the command line of this module."""
        return json.dumps(asdict(self))


#: Exit codes of this module; others are the command's.
NO_NAMESPACES = 121
NO_MOUNTS = 122
NO_BINFMT = 123


def main() -> int:
    """Start what the first argument says; the command's exit code."""
    spec = Spec(**json.loads(sys.argv[1]))
    # What ends us is the end of our standard input: a terminal's Ctrl-C is for our parent.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        own_user = _leave()
    except OSError as error:
        return _say(NO_NAMESPACES, error)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = _process_1(spec, own_user)
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if spec.remove:
        shutil.rmtree(spec.remove, ignore_errors=True)
    return os.waitstatus_to_exitcode(status) % 256


def _say(code: int, error: OSError) -> int:
    sys.stderr.write(f"{error.filename or 'namespaces'}: {error.strerror}\n")
    sys.stderr.flush()
    return code


def _leave() -> bool:
    """Into new namespaces; whether there is a user namespace, which root can do without."""
    uid, gid = os.geteuid(), os.getegid()
    others = linux.CLONE_NEWPID | linux.CLONE_NEWUTS
    try:
        linux.unshare(linux.CLONE_NEWUSER | others)
    except OSError as error:
        if uid != 0 or error.errno not in (errno.EPERM, errno.ENOSPC, errno.EINVAL):
            raise
        linux.unshare(others)
        return False
    linux.map_ids(0, uid, gid)
    return True


def _process_1(spec: Spec, own_user: bool) -> int:
    if spec.root:
        try:
            linux.unshare(linux.CLONE_NEWNS)
            if not own_user:
                _give_away(spec)
            registered = mounts.build(
                Path(spec.root), spec.folders, spec.cpuinfo, spec.qemu if own_user else "",
                writable=spec.writable,
            )  # fmt: skip
            if not registered:
                return NO_BINFMT
            linux.enter_root(spec.root)
        except OSError as error:
            return _say(NO_MOUNTS, error)
    if spec.host_name:
        linux.set_host_name(spec.host_name)
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(waker)
    command = os.fork()
    if command == 0:
        with contextlib.suppress(BaseException):
            _become(spec.argv, spec.environment, spec.user_id, own_user)
        os._exit(127)
    while True:
        ready, _, _ = select.select([0, wake], [], [])
        if 0 in ready and not os.read(0, 4096):
            return 0
        if wake in ready:
            os.read(wake, 4096)
            code = _reap(command)
            if code is not None:
                return code


def _give_away(spec: Spec) -> None:
    """Real root becomes another user, to whom the folders must belong."""
    for folder in spec.folders.values():
        for path in (Path(folder), *Path(folder).rglob("*")):
            os.lchown(path, spec.user_id, spec.user_id)


def _reap(command: int) -> int | None:
    """Wait for every child that has ended; the command's exit code if it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == command:
            code = os.waitstatus_to_exitcode(status) % 256


def _become(argv: list[str], environment: Mapping[str, str], user: int, own_user: bool) -> None:
    if user != 0 and own_user:
        # A server that is not root neither changes users nor needs the groups of others.
        linux.unshare(linux.CLONE_NEWUSER)
        linux.map_ids(user, 0, 0)
    elif user != 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    os.setsid()
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        os.execve(argv[0], argv, dict(environment))  # noqa: S606  a list, and no shell
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
