"""What a run is made with: names that the registries know, and versions."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import Any

from harness.config import Known
from harness.datasets import SOURCES
from harness.recipes import RECIPES
from harness.recipes.builder import known_builtins
from harness.transports import TRANSPORTS

_PACKAGES = ("edge-harness", "ai-edge-litert", "tensorflow", "tf-keras", "numpy", "paramiko")


def known_names() -> Known:
    """Every name that a suite may use."""
    return Known(
        recipes=tuple(RECIPES),
        calibrating=tuple(name for name, recipe in RECIPES.items() if recipe.needs_calibration),
        transports=tuple(TRANSPORTS),
        datasets=tuple(SOURCES),
        builtins=tuple(known_builtins()),
    )


def snapshot() -> dict[str, Any]:
    """The host's part of a run's provenance."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "platform": platform.platform(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "packages": versions,
    }
