"""From a graph and a device to a latency with its interval."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.domain import Backend
from harness.errors import UnsupportedError
from harness.simulation.edgetpu import COMPILED, compiled, map_operators
from harness.simulation.elements import Graph
from harness.simulation.prediction import delegate, package, processor, tpu
from harness.simulation.prediction.classes import CLASSES, Numbers, Work, work_of
from harness.simulation.prediction.hardware import Hardware, Runtime
from harness.simulation.prediction.interval import interval
from harness.simulation.prediction.parameters import Parameters
from harness.simulation.prediction.partitions import Partition, divide, partition

#: Some three years: beyond it sizes or rates are no device's.
_LONGEST_MS = 1e11


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """One operator: where it runs (``cpu``, ``gpu``, ``nnapi``, ``npu``, ``edgetpu``), its time."""

    index: int
    name: str
    kind: str
    place: str
    macs: int
    ms: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """A predicted latency of one inference, in milliseconds.

    The interval from ``low_ms`` to ``high_ms`` is meant to hold the truth nine times of ten;
    ``calibrated`` is whether any latency of the device has been seen.
    ``overhead_ms`` is what of it no operator takes: calls, transfers, streamed parameters.
    ``model`` is what it was asked for, in words.
    """

    device: str
    backend: str
    latency_ms: float
    low_ms: float
    high_ms: float
    overhead_ms: float
    operators: tuple[OperatorTime, ...]
    model: str = ""
    calibrated: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {
            "model": self.model,
            "device": self.device,
            "backend": self.backend,
            "latency_ms": self.latency_ms,
            "low_ms": self.low_ms,
            "high_ms": self.high_ms,
            "overhead_ms": self.overhead_ms,
            "calibrated": self.calibrated,
            "operators": [
                {
                    "index": each.index,
                    "name": each.name,
                    "class": each.kind,
                    "place": each.place,
                    "macs": each.macs,
                    "latency_ms": each.ms,
                }
                for each in self.operators
            ],
        }


#: Operators of no schema whose work is known.
_CUSTOM = re.compile(r"PostProcess|NonMaxSuppression|PosenetDecoder")


class Prepared:
    """A graph taken apart once, for any number of predictions."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._partitions: dict[str, Partition] = {}

    def check(self) -> None:
        """Raises ``UnsupportedError`` for a graph of which nothing can be said.

        A simulated device does not ask: there the runtime tells what it cannot load.
        """
        if self._unknown:
            raise UnsupportedError(self._unknown[0], hint=self._unknown[1])

    @cached_property
    def _unknown(self) -> tuple[str, str] | None:
        graph = self.graph
        if compiled(graph):
            return (
                f"this file went through the Edge TPU compiler: {COMPILED} hides its operators",
                "predict the file that it was compiled from",
            )
        if not graph.operators:
            return "it has no operators: there is nothing to predict", "harness inspect FILE"
        for tensor in graph.inputs:
            # The first may be open: it counts samples, of which one is predicted.
            if min((*tensor.shape, *tensor.shape_signature[1:]), default=1) < 0:
                open_shape = list(tensor.shape_signature or tensor.shape)
                return (
                    f"the shape of its input {tensor.name[:60]} is open: {open_shape}",
                    "convert the model with a fixed input shape",
                )
        for operator in graph.operators:
            if operator.custom and not _CUSTOM.search(operator.name):
                return (
                    f"operator {operator.index} is custom: what {operator.name[:60]} does is not "
                    "known",
                    "harness inspect FILE lists the operators",
                )
        return None

    @cached_property
    def work(self) -> Work:
        """What its operators do."""
        return work_of(self.graph)

    @cached_property
    def mapped(self) -> Partition:
        """What the Edge TPU compiler maps, and what crosses."""
        return partition(self.graph, [each.mapped for each in map_operators(self.graph)])

    @cached_property
    def parameter_bytes(self) -> float:
        """Bytes of parameters of what is mapped to an Edge TPU, as its compiler lays them out."""
        return package.parameter_bytes(self.graph, self.mapped.delegated)

    @cached_property
    def instruction_bytes(self) -> float:
        """Bytes of instructions that an Edge TPU is sent for each inference."""
        return package.instruction_bytes(self.graph, self.mapped.delegated)

    def divided(self, accelerator: str) -> Partition:
        """What an accelerator takes."""
        if accelerator not in self._partitions:
            self._partitions[accelerator] = divide(self.graph, accelerator)
        return self._partitions[accelerator]


def seconds(
    prepared: Prepared,
    hardware: Hardware,
    backend: Backend,
    runtime: Runtime,
    parameters: Parameters,
) -> tuple[Numbers, float, NDArray[np.bool_] | None]:
    """Seconds of each operator, seconds of overhead, and which are not on the processor.

    Raises ``UnsupportedError`` for what the device or the accelerator cannot run.
    """
    work = prepared.work
    name = backend.accelerator
    overhead = processor.invoke_seconds(hardware, parameters)
    if name in ("cpu", "xnnpack"):
        if backend.threads > hardware.threads:
            most = hardware.threads
            raise UnsupportedError(
                f"{hardware.name} has {most} core{'s' if most != 1 else ''}, not "
                f"{backend.threads}: more threads than cores are not predicted",
                hint=f"predict cpu x{most}",
            )
        taken = processor.seconds(work, hardware, backend.threads, runtime, parameters)
        return taken, overhead, None
    if name == "edgetpu":
        return _edgetpu(prepared, hardware, runtime, parameters, overhead)
    accelerator = hardware.accelerators.get(name)
    if accelerator is None:
        has = ", ".join(["cpu", *hardware.accelerators])
        raise UnsupportedError(f"{hardware.name} has no {name} to predict", hint=f"it has: {has}")
    part = prepared.divided(name)
    if not part.pieces:
        raise UnsupportedError(
            f"none of its {len(work.macs)} operators runs on {name}", hint="predict cpu x4"
        )
    taken = np.zeros(len(work.macs))
    taken[part.delegated] = delegate.seconds(
        work.chosen(part.delegated), hardware, name, accelerator, runtime, parameters
    )
    rest = ~part.delegated
    if rest.any():
        threads = min(max(1, backend.threads), hardware.threads)
        taken[rest] = processor.seconds(work.chosen(rest), hardware, threads, runtime, parameters)
    overhead += delegate.calls_seconds(
        hardware, name, accelerator, part.pieces, part.bytes, parameters
    )
    return taken, overhead, part.delegated


def _edgetpu(
    prepared: Prepared,
    hardware: Hardware,
    runtime: Runtime,
    parameters: Parameters,
    overhead: float,
) -> tuple[Numbers, float, NDArray[np.bool_] | None]:
    if hardware.edgetpu is None:
        raise UnsupportedError(
            f"{hardware.name} has no Edge TPU", hint="harness devices names those that have"
        )
    part = prepared.mapped
    if not part.pieces:
        reason = next(iter(map_operators(prepared.graph))).reason
        raise UnsupportedError(
            f"the Edge TPU compiler maps none of its operators: {reason}",
            hint="harness inspect FILE says why; the recipe int8 makes full-integer variants",
        )
    work = prepared.work
    taken = np.zeros(len(work.macs))
    chip = hardware.edgetpu
    taken[part.delegated] = tpu.seconds(work.chosen(part.delegated), chip, parameters)
    rest = ~part.delegated
    if rest.any():
        taken[rest] = processor.seconds(work.chosen(rest), hardware, 1, runtime, parameters)
    call, streamed = tpu.link_seconds(
        chip,
        part.bytes - part.returned + prepared.instruction_bytes,
        part.returned,
        prepared.parameter_bytes,
        parameters,
    )
    return taken, overhead + call + streamed, part.delegated


def predict(
    graph: Graph | Prepared,
    hardware: Hardware,
    backend: Backend,
    runtime: Runtime | None = None,
    parameters: Parameters | None = None,
    spreads: Mapping[str, float] | None = None,
) -> Prediction:
    """The latency of one inference of a graph on a device.

    ``runtime`` is a present LiteRT on a 64-bit system by default; ``spreads`` half-widths of
    intervals, see ``interval``. Raises ``UnsupportedError`` for what cannot run there.
    """
    prepared = graph if isinstance(graph, Prepared) else Prepared(graph)
    prepared.check()
    taken, overhead, away = seconds(
        prepared, hardware, backend, runtime or Runtime(), parameters or Parameters()
    )
    total = float(taken.sum() + overhead) * 1e3
    if not 0 < total < _LONGEST_MS:
        raise UnsupportedError("the numbers of this device and model make no latency")
    low, high = interval(total, hardware, backend.accelerator, spreads or {})
    work = prepared.work
    place = "cpu" if backend.accelerator == "xnnpack" else backend.accelerator
    return Prediction(
        device=hardware.name,
        backend=str(backend),
        latency_ms=total,
        low_ms=low,
        high_ms=high,
        overhead_ms=overhead * 1e3,
        calibrated=hardware.calibrated,
        operators=tuple(
            OperatorTime(
                index,
                name,
                CLASSES[int(work.classes[index])].value,
                place if away is None or away[index] else "cpu",
                int(work.macs[index]),
                float(taken[index]) * 1e3,
            )
            for index, name in enumerate(each.name for each in prepared.graph.operators)
        ),
    )
