"""Arguments as text for a device's shell."""

from __future__ import annotations

import shlex
from collections.abc import Sequence


def command_line(argv: Sequence[str]) -> str:
    """Arguments for the device's shell, none of them code; a leading ``~/`` means its home."""
    if any("\0" in word for word in argv):
        raise ValueError("an argument cannot contain a null character")
    home = "~/" if argv[0].startswith("~/") else ""
    return home + " ".join(map(_quoted, (argv[0].removeprefix(home), *argv[1:])))


def _quoted(word: str) -> str:
    """A word as every shell reads it: fish, a login shell of some, escapes inside of quotes too."""
    return '"\\\\"'.join(shlex.quote(part) for part in word.split("\\"))
