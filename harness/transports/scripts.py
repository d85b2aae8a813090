"""The helper scripts of ``device_agents/shell``, as text for the device's own shell."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def script(name: str) -> str:
    """The text of ``device_agents/shell/NAME``."""
    return resources.files("device_agents.shell").joinpath(name).read_text(encoding="utf-8")
