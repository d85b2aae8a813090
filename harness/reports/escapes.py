"""Text from outside, where another program would take a part of it for its own."""

from __future__ import annotations

import re
from typing import Any


def plain(text: object) -> str:
    """One line without what could fool a terminal: no control character, no doubled blank."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula is kept from it by an apostrophe.

    Control characters become blanks: a terminal that shows the file would obey them.
    """
    if isinstance(value, str):
        value = "".join(c if c.isprintable() or c in "\t\r\n" else " " for c in value)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value


def escape(text: object) -> str:
    """Text that Markdown and HTML leave alone."""
    safe = plain(text).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_{}\[\]|#~])", r"\\\1", safe)
