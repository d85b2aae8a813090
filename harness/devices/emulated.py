"""What starts an emulated device that is not up."""

from __future__ import annotations

import tomllib
from pathlib import Path

#: The link of a device that ``harness emulate`` makes -> the target's name there.
_TARGETS = {"ssh": "linux-arm64", "adb": "android"}


def how_to_start(name: str, transport: object) -> str:
    """The command, or nothing where ``harness emulate`` makes no such device."""
    target = _TARGETS.get(str(transport))
    return f"harness emulate {target} --name {name} --save starts it" if target else ""


def how_to_start_again(name: str, profile: Path) -> str:
    """The same of a profile that is no good any more: its keys have gone with its target."""
    try:
        values = tomllib.loads(profile.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    emulated = values.get("kind") == "emulated"
    return how_to_start(name, values.get("transport")) if emulated else ""
