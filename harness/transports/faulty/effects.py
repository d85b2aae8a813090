"""What a faulty device says in place of what a sound one would: numbers, not the link."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from device_agents.python import wire
from harness.domain.fault import Fault, FaultKind
from harness.errors import ModelError
from harness.simulation import read_graph

#: The clock of a throttled device whose profile tells none, MHz.
_CLOCK_MHZ = 1000.0


class Timing:
    """Samples of a process whose device throttles, or whose clock jumps.

    From the fault's sample on, durations are ``factor`` times as long, or that one sample is
    ``seconds`` longer; all that comes later begins as much later.
    """

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._from = max(1, fault.sample)
        self._later = 0

    def change(self, message: dict[str, Any], before: int) -> bool:
        """Change a ``samples`` message in place; ``before`` samples went before it.

        Returns whether the fault shows in it.
        """
        if message.get("unit") != "ns":
            return False
        throttles = self.fault.kind is FaultKind.THROTTLING
        at, values = [], []
        for index, (start, took) in enumerate(
            zip(message["at"], message["values"], strict=True), start=before + 1
        ):
            at.append(start + self._later)
            more = 0
            if throttles and index >= self._from:
                more = round(took * (self.fault.settings["factor"] - 1))
            elif not throttles and index == self._from:
                more = round(self.fault.settings["seconds"] * 1e9)
            values.append(took + more)
            self._later += more
        message["at"], message["values"] = at, values
        return before + len(values) >= self._from

    def told(self, facts: dict[str, Any]) -> None:
        """A throttled device tells that its clock fell."""
        conditions = facts.get("conditions")
        if self.fault.kind is not FaultKind.THROTTLING or not isinstance(conditions, dict):
            return
        before, after = conditions["before"], conditions["after"]
        whole = before.get("frequency_mhz") or _CLOCK_MHZ
        low = whole / self.fault.settings["factor"]
        conditions["before"] = {**before, "frequency_mhz": whole, "frequency_max_mhz": whole}
        conditions["after"] = {**after, "frequency_mhz": low, "frequency_max_mhz": whole}


def wrong_outputs(message: dict[str, Any]) -> None:
    """Each sample's outputs moved on by one place; the bits of a single one inverted."""
    raw = wire.unpack(message["data"])
    array = np.frombuffer(raw, dtype=message["dtype"]).reshape(message["shape"])
    rows = array.reshape(len(array), -1)
    if rows.shape[1] > 1:
        wrong = np.roll(rows, 1, axis=1)
    elif np.issubdtype(rows.dtype, np.floating):
        wrong = (1 - rows).astype(rows.dtype)
    else:
        wrong = np.invert(rows)
    message["data"] = wire.pack(np.ascontiguousarray(wrong))


def on_the_cpu(request: dict[str, Any], simulation: Any) -> dict[str, Any]:
    """The request as the CPU serves it, where the profile says how fast that is."""
    known = "prediction" in simulation or "float_gmacs" in simulation
    return {**request, "accelerator": "cpu"} if known else request


def fell_back(facts: dict[str, Any], request: dict[str, Any]) -> None:
    """What an agent says of a delegate that took no operator."""
    count = _operators(str(request["model"]["path"]))
    facts["delegated"] = {"accelerator": "cpu", "nodes": 0, "total": count, "partitions": 0}


@lru_cache(maxsize=16)
def _operators(path: str) -> int:
    try:
        return len(read_graph(Path(path)).operators)
    except ModelError:
        return 1
