"""A runtime that computes with the host's own and takes the time that is modelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from device_agents.python.failures import AgentFailure, out_of_memory
from harness.domain import Backend, Device
from harness.errors import ModelError, UnsupportedError
from harness.simulation import Estimate
from harness.simulation.roofline import MODEL_VERSION
from harness.simulation.thermal import Thermal
from harness.transports.modelled.clock import ModelledClock
from harness.transports.modelled.content import (
    LazyInterpreter,
    content_of,
    cost_of,
    graph_of,
    host_runtime,
)
from harness.transports.modelled.system import ModelledSystem

#: Samples of noise drawn at a time: at first, and at most.
_FIRST_BLOCK, _NOISE_BLOCK = 64, 4096


class _ModelledInterpreter:
    """An interpreter whose time is modelled; timed invokes are not really run."""

    def __init__(
        self,
        real: LazyInterpreter,
        cost: Estimate,
        clock: ModelledClock,
        noise: Iterator[float],
        *,
        thermal: Thermal | None = None,
        delegated: dict[str, Any] | None = None,
    ) -> None:
        self._real = real
        self._thermal = thermal
        self._cost = cost
        self._clock = clock
        self._times = self._all_times(noise)
        #: How much longer than the cost model says the newest inference took.
        self.slower = 1.0
        #: Who runs which operators, see the agent's ``delegation``.
        self.delegated = delegated
        clock.advance(cost.init_ns * 0.4)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def allocate_tensors(self) -> None:
        self._clock.advance(self._cost.init_ns * 0.6 + self._cost.delegate_ns)
        self._real.allocate_tensors()

    def times(self) -> Iterator[float]:
        """What one inference after the other takes, ns."""
        return self._times

    def _all_times(self, noise: Iterator[float]) -> Iterator[float]:
        yield self._cost.first_ns * next(noise)
        for factor in noise:
            yield self._cost.invoke_ns * factor

    def invoke(self) -> None:
        took = next(self._times)
        heat = self._thermal
        if heat is not None:
            took = took * heat.slowdown if heat.loaded else heat.begin(took)
            heat.pending += took
            if heat.pending >= heat.until:
                heat.settle()
        self._clock.advance(took)
        self.slower = took / max(1, self._cost.invoke_ns)


class _ModelledProfiler:
    """Operators as the cost model has them, each as much slower as the inference was."""

    resolution_ns = 1

    def __init__(
        self,
        interpreter: _ModelledInterpreter,
        names: Sequence[str],
        cost: Estimate,
        accelerator: str,
    ) -> None:
        self._interpreter, self._names, self._cost = interpreter, names, cost
        #: Where the model does not say, an Edge TPU has all operators, a processor its own.
        self._delegated = cost.delegated or (accelerator != "cpu",) * len(names)

    def events(self) -> list[tuple[str, int, int, bool]]:
        """See the agent's ``run_operators``."""
        slower = self._interpreter.slower
        return [
            (name, node, round(ns * slower), self._delegated[node])
            for node, (name, ns) in enumerate(zip(self._names, self._cost.operator_ns, strict=True))
        ]


class ModelledRuntime:
    """A runtime that times by the cost model and computes with the host's own runtime."""

    name = "simulated"

    def __init__(
        self,
        device: Device,
        clock: ModelledClock,
        system: ModelledSystem,
        seed: Callable[[], int],
        begin: Callable[[Mapping[str, Any]], Thermal],
    ) -> None:
        self._host = host_runtime()
        self.version = f"{MODEL_VERSION} over {self._host.name} {self._host.version}"
        self._device, self._clock, self._system, self._seed = device, clock, system, seed
        self._begin = begin

    def delegated(self, interpreter: _ModelledInterpreter) -> dict[str, Any] | None:
        """``delegated`` of PROTOCOL.md; ``None`` where the cost model places no operators."""
        return interpreter.delegated

    def failure(self, _error: Exception) -> None:
        """There is no accelerator that could fail."""

    def profiler(self, interpreter: _ModelledInterpreter) -> _ModelledProfiler:
        """See the agent's ``run_operators``."""
        return _ModelledProfiler(interpreter, *self._profiled)

    def interpreter(
        self, path: str, threads: int, accelerator: str, purpose: str, request: Mapping[str, Any]
    ) -> Any:
        """See the agent's ``Runtime``."""
        try:
            content = content_of(path)
            graph = graph_of(content)
            cost = cost_of(content, Backend(accelerator, threads), self._device.simulation)
        except (UnsupportedError, ModelError) as error:
            kind = "unsupported" if isinstance(error, UnsupportedError) else "bad_model"
            raise AgentFailure(kind, "load", error.message, error.hint or "") from None
        has = self._device.simulation.get("ram_mb")
        if has is not None and cost.memory_bytes > has * 1e6:
            needs = f"it would need {cost.memory_bytes / 1e6:.0f} of {has:.0f} MB"
            raise out_of_memory("load", needs)
        real = LazyInterpreter(content)
        self._profiled = [operator.name for operator in graph.operators], cost, accelerator
        self._system.memory = cost.memory_bytes
        self._system.threads = threads if accelerator == "cpu" else 1
        thermal = None
        if purpose != "sweep":
            thermal = self._system.thermal = self._begin(request)
            self._clock.rested = thermal.rest
        return _ModelledInterpreter(
            real,
            cost,
            self._clock,
            _noise(self._device.simulation, self._seed()),
            thermal=thermal,
            delegated=_delegated(cost, accelerator),
        )


def _delegated(cost: Estimate, accelerator: str) -> dict[str, Any] | None:
    """As a delegate's own list of operators says it; nothing is told of a processor."""
    if not cost.partitions:
        return None
    return {
        "accelerator": accelerator,
        "nodes": sum(cost.delegated),
        "total": len(cost.delegated),
        "partitions": cost.partitions,
    }


def _noise(profile: Mapping[str, Any], seed: int) -> Iterator[float]:
    """Log-normal factors around 1: one for the trial, times one for each sample."""
    rng = np.random.default_rng(seed)
    trial = float(np.exp(rng.normal(0, profile["trial_noise_percent"] / 100)))
    sigma = profile["noise_percent"] / 100
    block = _FIRST_BLOCK  # most trials are short; how many are drawn at a time changes no value
    while True:
        yield from (trial * np.exp(rng.normal(0, sigma, block))).tolist()
        block = min(4 * block, _NOISE_BLOCK)
