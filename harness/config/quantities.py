"""Numbers with a unit, as people write them."""

from __future__ import annotations

import re
from typing import Any

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "ki": 2**10, "mi": 2**20, "gi": 2**30}
_SIZE = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*(|k|m|g|ki|mi|gi)b?\s*", re.IGNORECASE)


def bytes_of(value: Any) -> Any:
    """``"2MB"`` or ``"1.5 MiB"`` in bytes, powers of ten but for ``Ki``, ``Mi``, ``Gi``.

    What is no text is given back. Raises ``ValueError`` for any other text.
    """
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if isinstance(value, bool) or (isinstance(value, str) and not found):
        raise ValueError('must be bytes, or a number with its unit, as in "2 MB"')
    if not found:
        return value
    return int(float(found[1]) * _UNITS[found[2].lower()])


def not_zero(value: float) -> float:
    """A scale; raises ``ValueError`` for 0."""
    if value == 0:
        raise ValueError("scale 0 would make every sample the same")
    return value
