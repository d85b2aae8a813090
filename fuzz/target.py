"""What a fuzz target is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.errors import HarnessError


@dataclass(frozen=True, slots=True)
class Target:
    """A reader of foreign bytes.

    ``run`` gives it one input and asserts what must hold of the answer; nothing but ``allowed``
    may come out. ``seeds`` are good inputs, ``kind`` what they are made of (``bytes``, ``text``, or
    ``json``: one value per line), ``tokens`` words that the reader knows. One that writes where its
    input says is ``jailed``: once all is imported and every seed has been run, ``places.folder()``
    is its root.
    What runs outside of Python is not ``covered`` by atheris, and not ``limited`` in its address
    space where a sanitizer needs that. ``cpu_seconds`` and ``memory_mb`` are what one input may take.
    """

    run: Callable[[bytes], None]
    seeds: Callable[[], Sequence[bytes]]
    kind: str = "bytes"
    allowed: tuple[type[Exception], ...] = (HarnessError,)
    tokens: tuple[bytes, ...] = ()
    jailed: bool = False
    covered: bool = True
    limited: bool = True
    max_bytes: int = 1 << 16
    cpu_seconds: float = 5.0
    memory_mb: int = 256
