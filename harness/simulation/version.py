"""Which version of a simulated device's profile made a number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any


def profile_version(simulation: Mapping[str, Any]) -> str:
    """The first 12 hex digits of the sha256 of the parameters as canonical JSON; empty for none."""
    return _hashed(json.dumps(dict(simulation), sort_keys=True)) if simulation else ""


@lru_cache(1024)
def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
