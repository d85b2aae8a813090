"""What one request to a device brought."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """What one request brought: the hello, the load times and tensors, the facts of done.

    ``summary`` has the statistics of a runner that keeps no samples; an agent's is empty.
    """

    hello: dict[str, Any] = field(default_factory=dict)
    loaded: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
