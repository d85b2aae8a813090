"""The prediction as the clock of a simulated device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.domain import Backend
from harness.simulation.elements import Graph
from harness.simulation.prediction.hardware import CoreType, Runtime, hardware_of
from harness.simulation.prediction.parameters import Parameters
from harness.simulation.prediction.predicting import Prepared, seconds
from harness.simulation.version import check_form


@dataclass(frozen=True, slots=True)
class Modelled:
    """One inference: ``seconds`` of it, and of each operator; where the operators run.

    ``delegated`` says of each whether the accelerator takes it, ``partitions`` into how many pieces
    that cuts the graph: 0 on a processor.
    """

    seconds: float
    operators: tuple[float, ...]
    delegated: tuple[bool, ...]
    partitions: int


def modelled(graph: Graph, backend: Backend, table: Mapping[str, Any]) -> Modelled:
    """One inference on a device.

    ``table`` is the profile's, as ``harness.config.processors.resolved`` gives it. Raises
    ``UnsupportedError`` for what cannot run there.
    """
    check_form(table["form"])
    types = {kind: CoreType(kind, *per_cycle) for kind, per_cycle in table["core_types"].items()}
    hardware = hardware_of(table["name"], table, types)
    prepared = Prepared(graph)
    if backend.accelerator == "cpu":  # a runtime given more threads than cores gains nothing
        backend = Backend("cpu", min(backend.threads, hardware.threads))
    taken, overhead, away = seconds(
        prepared, hardware, backend, Runtime(), Parameters(table["parameters"])
    )
    parts = tuple(float(each) for each in taken)
    if away is None:
        return Modelled(sum(parts) + overhead, parts, (False,) * len(parts), 0)
    name = backend.accelerator
    pieces = (prepared.mapped if name == "edgetpu" else prepared.divided(name)).pieces
    return Modelled(sum(parts) + overhead, parts, tuple(bool(each) for each in away), pieces)
