"""Where the shipped profiles are: beside the package in a checkout, inside it in a wheel."""

from __future__ import annotations

from pathlib import Path


def profiles_dir() -> Path:
    """The folder with ``devices/`` and ``suites/``."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "_profiles"
    return inside if inside.is_dir() else package.parent / "profiles"
