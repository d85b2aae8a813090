"""What a recipe is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Recipe:
    """A named conversion.

    ``configure(tf, converter)`` sets a ``tf.lite.TFLiteConverter`` up; it runs in a
    conversion process. ``None`` means that the source file is deployed as it is.
    ``version`` changes whenever ``configure`` would give another file. ``full_integer``
    promises a variant without float operators, which is verified.
    """

    name: str
    summary: str
    configure: Callable[[Any, Any], None] | None
    needs_calibration: bool = False
    full_integer: bool = False
    version: int = 1
