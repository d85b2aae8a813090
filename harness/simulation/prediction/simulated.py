"""The prediction as the clock of a simulated device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.domain import Backend
from harness.simulation.elements import Graph
from harness.simulation.prediction.hardware import CoreType, Runtime, hardware_of
from harness.simulation.prediction.parameters import Parameters
from harness.simulation.prediction.predicting import Prepared, seconds


def modelled_seconds(
    graph: Graph, backend: Backend, table: Mapping[str, Any]
) -> tuple[float, tuple[float, ...], tuple[bool, ...]]:
    """Seconds of one inference, of each operator, and which of them the accelerator takes.

    ``table`` is the profile's, as ``harness.config.processors.resolved`` gives it. Raises
    ``UnsupportedError`` for what cannot run there.
    """
    types = {
        kind: CoreType(kind, float_macs, int8_macs)
        for kind, (float_macs, int8_macs) in table["core_types"].items()
    }
    hardware = hardware_of(table["name"], table, types)
    prepared = Prepared(graph)
    if backend.accelerator == "cpu":  # [simulation] may have more cores than [prediction]
        backend = Backend("cpu", min(backend.threads, hardware.threads))
    taken, overhead, away = seconds(
        prepared, hardware, backend, Runtime(), Parameters(table["parameters"])
    )
    parts = tuple(float(each) for each in taken)
    placed = (False,) * len(parts) if away is None else tuple(bool(each) for each in away)
    return sum(parts) + overhead, parts, placed
