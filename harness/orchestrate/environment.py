"""What a run is made with: names that the registries know, and versions."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from harness.config.suites import Known
from harness.datasets import SOURCES
from harness.models import is_reference
from harness.recipes import RECIPES, parse_recipe
from harness.recipes.making.builder import known_builtins
from harness.transports import TRANSPORTS

_PACKAGES = (
    "edge-harness",
    "ai-edge-litert",
    "tensorflow",
    "tf-keras",
    "ai-edge-quantizer",
    "tensorflow-model-optimization",
    "numpy",
    "paramiko",
)


def known_names() -> Known:
    """Every name that a suite may use."""
    return Known(
        recipes=tuple(RECIPES),
        recipe=_recipe,
        reference=is_reference,
        transports=tuple(TRANSPORTS),
        datasets=tuple(SOURCES),
        builtins=tuple(known_builtins()),
    )


def _recipe(value: str | Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    chosen = parse_recipe(value)
    needs = {
        "calibration": chosen.recipe.needs_calibration,
        "training": chosen.recipe.needs_training,
    }
    return chosen.text, frozenset(split for split, needed in needs.items() if needed)


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
