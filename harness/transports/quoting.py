"""Arguments as text for a device's shell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def command_line(argv: Sequence[str]) -> str:
    """Arguments for the device's shell, none of them code; a leading ``~/`` means its home."""
    if any("\0" in word for word in argv):
        raise ValueError("an argument cannot contain a null character")
    if argv[0].startswith("~/"):
        return "~/" + shlex.join([argv[0][2:], *argv[1:]])
    return shlex.join(argv)
