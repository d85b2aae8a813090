"""Text from outside, where another program would take a part of it for its own."""

from __future__ import annotations

import re
from typing import Any


def cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula is kept from it by an apostrophe."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value


def escape(text: object) -> str:
    """Text that Markdown and HTML leave alone."""
    plain = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`*_{}\[\]|#~])", r"\\\1", plain)
