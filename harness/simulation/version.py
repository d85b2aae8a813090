"""Which version of a simulated device's profile made a number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

#: Version of the predictor's form: of its formulas, whatever its parameters are.
FORM = "classes-3"


def profile_version(simulation: Mapping[str, Any]) -> str:
    """The first 12 hex digits of the sha256 of form and parameters as JSON; empty for none."""
    if not simulation:
        return ""
    return _hashed(json.dumps({**simulation, "form": FORM}, sort_keys=True))


@lru_cache(1024)
def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
