"""Bounds that a run's numbers must keep, and what holding one against them came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

#: The bounds that a gate may set; the names of a suite's keys.
LIMITS = (
    "max_latency_ms",
    "max_accuracy_drop",
    "max_size",
    "max_memory",
    "min_delegated",
    "no_regression_against",
)


class Answer(StrEnum):
    """What a gate says of one cell; the value is its name in all output.

    ``NOT_APPLICABLE`` is for what cannot be by nature (the latency of an emulated device): a
    gate that applies to no cell at all cannot tell.
    """

    PASSED = "passed"
    FAILED = "failed"
    CANNOT_TELL = "cannot tell"
    NOT_APPLICABLE = "does not apply"


@dataclass(frozen=True, slots=True)
class Gate:
    """Bounds for the cells of these models, recipes, devices and backends (empty: of all).

    ``max_latency_ms`` is for the median, ``max_accuracy_drop`` in points below the float
    variant of the same model, ``max_size`` and ``max_memory`` in bytes, ``min_delegated`` a
    share of operators. ``no_regression_against`` names a baseline or a run; ``allow`` what may
    differ from it, as in ``harness compare``. ``None``: no bound.
    """

    max_latency_ms: float | None = None
    max_accuracy_drop: float | None = None
    max_size: int | None = None
    max_memory: int | None = None
    min_delegated: float | None = None
    no_regression_against: str | None = None
    models: tuple[str, ...] = ()
    recipes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()

    def limits(self) -> Mapping[str, Any]:
        """The bounds that are set, by name."""
        return {name: value for name in LIMITS if (value := getattr(self, name)) is not None}

    def holds_for(self, model: str, recipe: str, device: str, backend: str) -> bool:
        """Whether a cell is one that the gate is for."""
        chosen = (self.models, self.recipes, self.devices, self.backends)
        names = (model, recipe, device, backend)
        return all(not some or name in some for some, name in zip(chosen, names, strict=True))
