"""Helper scripts for the device's own shell: what must work without Python there.

They are POSIX sh, and use only what Debian, busybox and Android's toybox have. A script gets
its arguments as ``$1``, ``$2``, ... and answers with lines ``KEY VALUE``.
"""

from __future__ import annotations

from harness.transports.scripts import script
from harness.transports.transport import Completed, Transport


def run_script(
    transport: Transport, name: str, *arguments: str, stdin: bytes = b"", timeout: float = 60
) -> Completed:
    """Run a helper script on the device; see ``Transport.run``."""
    return transport.run(["sh", "-c", script(name), name, *arguments], stdin=stdin, timeout=timeout)
