"""Helper scripts for the device's own shell: what must work without Python there.

They are POSIX sh, and use only what Debian, busybox and Android's toybox have. A script gets
its arguments as ``$1``, ``$2``, ... and answers with lines ``KEY VALUE``.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from harness.transports.transport import Completed, Transport


@cache
def script(name: str) -> str:
    """The text of ``device_agents/shell/NAME``."""
    return resources.files("device_agents.shell").joinpath(name).read_text(encoding="utf-8")


def run_script(
    transport: Transport, name: str, *arguments: str, stdin: bytes = b"", timeout: float = 60
) -> Completed:
    """Run a helper script on the device; see ``Transport.run``."""
    return transport.run(["sh", "-c", script(name), name, *arguments], stdin=stdin, timeout=timeout)
