"""Writing what a report gives."""

from __future__ import annotations

from pathlib import Path

from harness.cache import whole_file
from harness.errors import UsageError


def write_text(path: Path, text: str) -> Path:
    """Write a whole file or none; returns its path. Raises ``UsageError``, ``HarnessError``."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {path.parent}: {error.strerror}") from None
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
        part.chmod(0o644)
    return path
