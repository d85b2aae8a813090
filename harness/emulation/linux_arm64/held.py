"""A command in namespaces of its own that ends with us, however we end."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from harness.emulation.linux_arm64 import inside
from harness.emulation.target import Tell
from harness.errors import HarnessError, MissingToolError

_WHY = {
    inside.NO_NAMESPACES: (
        "this machine does not let this user make namespaces",
        "as root: sysctl -w user.max_user_namespaces=10000, "
        "kernel.unprivileged_userns_clone=1 where there is such a setting (Debian), "
        "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); or run this as root",
    ),
    inside.NO_MOUNTS: (
        "this machine does not let this user mount a root of its own",
        "as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu); "
        "a container needs --privileged; or run this as root",
    ),
    inside.NO_BINFMT: (
        "this machine does not run arm64 programs, and Linux before 6.7 does not let a user "
        "register QEMU for them",
        "as root: apt install qemu-user-static binfmt-support",
    ),
}


def hold(
    spec: inside.Spec, output: IO[bytes] | int, handles: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    """Start it; it lives until its ``stdin`` is closed, which the kernel does when we die.

    ``handles`` stay open for as long as any of it lives.
    """
    package = Path(__file__).resolve().parents[3]
    return subprocess.Popen(
        [sys.executable, "-m", inside.__name__, spec.text()],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT,
        pass_fds=handles,
        env={**os.environ, "PYTHONPATH": str(package)},
    )


def release(process: subprocess.Popen[bytes]) -> int:
    """End it and all that it has started; its exit code."""
    if process.stdin is not None:
        process.stdin.close()
    return process.wait()


def run(spec: inside.Spec, listen: Tell = lambda line: None) -> tuple[int, str]:
    """Run it to its end; its exit code and what it said, of which ``listen`` gets each line."""
    process = hold(spec, subprocess.PIPE)
    said = []
    try:
        for line in process.stdout or ():
            said.append(line.decode(errors="replace"))
            listen(said[-1].strip())
        process.wait()
    finally:
        code = release(process)
        if process.stdout is not None:
            process.stdout.close()
    return code, "".join(said)


def failure(what: str, code: int, said: str) -> HarnessError:
    """Why it ended, for people; ``said`` is its output."""
    last = " | ".join(said.strip().splitlines()[-4:])[-600:]
    if code in _WHY:
        reason, hint = _WHY[code]
        return MissingToolError(f"{what}: {reason} ({last})" if last else f"{what}: {reason}",
                                hint=hint)  # fmt: skip
    return HarnessError(f"{what} failed with exit code {code}: {last or 'it said nothing'}")
