"""Which version of a simulated device's profile made a number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from harness.errors import ConfigError

#: Version of the predictor's form: of its formulas, whatever its parameters are.
FORM = "classes-3"


def check_form(form: str) -> None:
    """Raises ``ConfigError`` for parameters that were fitted to other formulas than these."""
    if form in ("", FORM):
        return
    kind, _, number = form.partition("-")
    mine = FORM.partition("-")[2]
    newer = kind == "classes" and number.isdecimal() and int(number) > int(mine)
    raise ConfigError(
        f"profiles/processors/fitted.toml is of form {form[:40]!r}, this version predicts with "
        f"{FORM!r}",
        hint="it is of a newer version: update the harness"
        if newer
        else "it is of an older version: make it anew with harness calibrate TABLE --write",
    )


def profile_version(simulation: Mapping[str, Any]) -> str:
    """The first 12 hex digits of the sha256 of form and parameters as JSON; empty for none."""
    if not simulation:
        return ""
    return _hashed(json.dumps({**simulation, "form": FORM}, sort_keys=True))


@lru_cache(1024)
def _hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
