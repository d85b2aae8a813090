"""A device under load for a while, and what it says meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.devices import messages
from harness.devices.session import Answer
from harness.domain import Device, DeviceKind, Stage
from harness.errors import ProtocolError
from harness.orchestrate.lane_job import LaneJob
from harness.orchestrate.passes.kind import Asking

#: Durations that are kept of an interval: enough for its 5th and 95th percentile.
TRACE_SAMPLES = 200

#: Seconds between two writes of what came meanwhile: an agent says several things a second.
_WRITE_EVERY = 5.0

#: A list of samples is at most this long before it is written.
_WRITE_AT = 20_000

#: Told of each message: phase, times in ns, values.
Told = Callable[[str, NDArray[np.int64], NDArray[np.int64]], None]


def loadable(device: Device, item: LaneJob) -> bool:
    """An emulated device has no time, and ``benchmark_model`` no such mode."""
    return device.kind is not DeviceKind.EMULATED and device.runner(item.job.backend) == "agent"


def interval(seconds: float) -> float:
    """A second, or less for a short load, so that there are intervals to compare."""
    return min(1.0, max(0.05, seconds / 60))


def load(
    asking: Asking,
    stage: Stage,
    seconds: float,
    idle_seconds: float = 0.0,
    told: Told | None = None,
) -> Answer:
    """Keep the device under load for ``seconds``; its samples reach the store as they arrive.

    Raises as ``Session.ask`` does.
    """
    writer = _Writer(asking)
    every = interval(seconds)
    most = int((seconds + idle_seconds) / every * 2) + 10
    counts = {"intervals": 0, "runs": 0}
    pairs = {"interval": 0, "runs": 0}

    def on_message(message: dict[str, Any], answer: Answer) -> None:
        phase, at, values = messages.samples(message, asking.device.name, messages.LOAD)
        counts["intervals"] += phase in ("idle", "interval")
        if phase in pairs:
            pairs[phase] += len(values)
        counts["runs"] += int(values.sum()) if phase == "runs" else 0
        if not answer.loaded or len(values) > 2 * TRACE_SAMPLES or counts["intervals"] > most:
            raise ProtocolError(f"{asking.device.name}: more samples than were asked for")
        writer.add(phase, at, values)
        if told is not None:
            told(phase, at, values)

    answer = asking.session.ask(
        {
            **asking.request("sustained"),
            "seconds": seconds,
            "idle_seconds": idle_seconds,
            "trace_seconds": every,
            "trace_samples": TRACE_SAMPLES,
        },
        on_message,
        purpose=stage,
        silence=asking.policy.silence_timeout,
        longest=2 * (seconds + idle_seconds) + 2 * asking.policy.silence_timeout,
    )
    if not counts["runs"] or not answer.loaded:
        raise ProtocolError(f"{asking.device.name}: a load without samples")
    if pairs["interval"] != pairs["runs"]:
        raise ProtocolError(
            f"{asking.device.name}: {pairs['interval']} intervals of a load, and inferences of "
            f"{pairs['runs']}"
        )
    writer.flush()
    return answer


class _Writer:
    """Writes samples of a trial in bunches, one for each phase."""

    def __init__(self, asking: Asking) -> None:
        self._store, self._trial = asking.store, asking.trial_id
        self._parts: dict[str, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {}
        self._seq = self._count = 0
        self._written = time.monotonic()

    def add(self, phase: str, at: NDArray[np.int64], values: NDArray[np.int64]) -> None:
        self._parts.setdefault(phase, []).append((at, values))
        self._count += len(values)
        if self._count >= _WRITE_AT or time.monotonic() - self._written >= _WRITE_EVERY:
            self.flush()

    def flush(self) -> None:
        for phase, parts in self._parts.items():
            at, values = (np.concatenate(list(column)) for column in zip(*parts, strict=True))
            self._store.append_samples(self._trial, self._seq, phase, at, values)
            self._seq += 1
        self._parts.clear()
        self._count, self._written = 0, time.monotonic()
