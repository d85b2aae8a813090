"""The agent's process on a device in trouble."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from device_agents.python import wire
from harness.domain.fault import PURPOSES, Fault, FaultKind
from harness.errors import AgentTimeoutError
from harness.simulation.faults import FaultPlan
from harness.transports.faulty import effects
from harness.transports.lines import LineReader
from harness.transports.transport import Process

_GARBAGE = b"\x1b[31m\xff\xfe Segment violation at 0xdeadbeef %s%n\n"

#: Signals of a process that the system ends: a violation of memory's bounds, and SIGKILL.
_ENDS = {FaultKind.CRASH: -11, FaultKind.KILLED: -9, FaultKind.STOLEN: -9}

_TIMING = (FaultKind.THROTTLING, FaultKind.CLOCK)

#: By action, for requests whose id says nothing.
_PURPOSE = {"sweep": "accuracy", "scenario": "scenarios"}


class FaultyProcess:
    """An agent's process, see ``Process``, that fails where the plan says.

    ``cut(fault)`` cuts the link and raises, ``steal()`` gives the lease to another session.
    """

    def __init__(
        self,
        inner: Process,
        plan: FaultPlan,
        simulation: Mapping[str, Any],
        at_start: list[Fault],
        cut: Callable[[Fault | None], None],
        steal: Callable[[], None],
    ) -> None:
        self._inner, self._plan, self._simulation = inner, plan, simulation
        self._cut, self._steal = cut, steal
        self._lines: deque[bytes] = deque()
        #: How it ended, once it has: what reading gives then.
        self._over: Callable[[float], bytes] | None = None
        self._exit_code: int | None = None
        self._stderr = ""
        self._request: dict[str, Any] = {}
        self._loading: list[Fault] = []
        self._working: list[Fault] = []
        self._timing: list[effects.Timing] = []
        self._fell_back = False
        self._outputs: list[Fault] = []
        self._shown: dict[int, bool] = {}
        self._count = 0
        for fault in at_start:
            self._end(fault)

    # -- the process -----------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """See ``Process``; the request says which faults may strike."""
        self._cut(None)
        request = json.loads(data)
        self._request = request
        purpose, number = _purpose(request)
        for fault in self._plan.of_process(purpose, number, str(request.get("id", ""))):
            if fault.kind is FaultKind.FALLBACK:
                if request.get("accelerator", "cpu") != "cpu" and self._plan.strike(fault):
                    self._fell_back = True
                    request = effects.on_the_cpu(request, self._simulation)
            elif fault.kind in _TIMING:
                self._timing.append(effects.Timing(fault))
            elif fault.kind is FaultKind.OUTPUTS:
                self._outputs.append(fault)
            else:
                (self._loading if fault.place == "load" else self._working).append(fault)
        self._inner.send(wire.encode(request))

    def read_line(self, timeout: float) -> bytes:
        """See ``Process``."""
        while not self._lines:
            self._cut(None)
            if self._over is not None:
                return self._over(timeout)
            line = self._inner.read_line(timeout)
            if not line:
                return line
            self._lines.extend(self._heard(line))
        return self._lines.popleft()

    def wait(self, timeout: float) -> int | None:
        """See ``Process``."""
        return self._inner.wait(timeout) if self._over is None else self._exit_code

    def kill(self) -> None:
        """See ``Process``."""
        self._inner.kill()

    def stderr_tail(self) -> str:
        """See ``Process``."""
        return self._stderr or self._inner.stderr_tail()

    # -- what it says ----------------------------------------------------------------------

    def _heard(self, line: bytes) -> list[bytes]:
        """The lines that come in place of one of the sound agent."""
        message = wire.decode(line)
        kind = message.get("type")
        if kind == "loaded":
            ended = self._first_of(self._loading)
            return [line] if ended is None else ended
        if kind == "samples":
            return self._samples(message)
        if kind == "outputs":
            return self._rows(message)
        if kind == "operators":
            ended = self._due(1)
            return [line] if ended is None else ended
        return [self._facts(message)] if kind == "done" else [line]

    def _rows(self, message: dict[str, Any]) -> list[bytes]:
        """Outputs, up to those of the sample at which a fault strikes."""
        reached = message["offset"] + message["shape"][0]
        ended = self._due(reached)
        if ended is not None:
            return ended
        for fault in self._outputs:
            if reached >= fault.sample and self._shows(fault):
                effects.wrong_outputs(message)
        return [wire.encode(message)]

    def _samples(self, message: dict[str, Any]) -> list[bytes]:
        """Samples up to the one at which a fault strikes, and what follows then."""
        before, length = self._count, len(message["values"])
        for timing in self._timing:
            if timing.change(message, before):
                self._shows(timing.fault)
        self._count += length
        for fault in self._working:
            place = max(1, fault.sample)
            if before < place <= before + length and self._plan.strike(fault):
                kept = place - 1 - before
                whole = {**message, "at": message["at"][:kept], "values": message["values"][:kept]}
                return [*([wire.encode(whole)] if kept else []), *self._end(fault)]
        return [wire.encode(message)]

    def _due(self, reached: int) -> list[bytes] | None:
        """The end by a fault whose sample is reached, or that names none."""
        return self._first_of([fault for fault in self._working if fault.sample <= reached])

    def _first_of(self, faults: list[Fault]) -> list[bytes] | None:
        """The last lines of a process that one of them ends; ``None`` where none does."""
        for fault in faults:
            if self._plan.strike(fault):
                return self._end(fault)
        return None

    def _shows(self, fault: Fault) -> bool:
        """Whether a fault that changes what is said strikes; it does once in a process."""
        if id(fault) not in self._shown:
            self._shown[id(fault)] = self._plan.strike(fault)
        return self._shown[id(fault)]

    def _facts(self, message: dict[str, Any]) -> bytes:
        facts = message.get("facts", {})
        for timing in self._timing:
            timing.told(facts)
        if self._fell_back:
            effects.fell_back(facts, self._request)
        line: bytes = wire.encode(message)
        return line

    # -- the ends --------------------------------------------------------------------------

    def _end(self, fault: Fault) -> list[bytes]:
        """From now on the process is as the fault leaves it; returns its last lines."""
        kind = fault.kind
        if kind in (FaultKind.DISCONNECT, FaultKind.REBOOT):
            self._over = self._cut_by(fault)
        elif kind is FaultKind.HANG:
            self._over = _silence
        elif kind is FaultKind.GARBAGE:
            self._over = lambda _timeout: _GARBAGE
        elif kind is FaultKind.OVERSIZED:
            self._over = LineReader(lambda _timeout: b'{"type":"samples",' * 4096).read_line
        elif kind is FaultKind.MEMORY:
            self._exit_code, self._over = 1, _nothing
            return [wire.encode(_out_of_memory(fault.place))]
        else:
            self._exit_code, self._over = _ENDS[kind], _nothing
            if kind is FaultKind.CRASH:
                self._stderr = "Segmentation fault"
            if kind is FaultKind.STOLEN:
                self._steal()
        return []

    def _cut_by(self, fault: Fault) -> Callable[[float], bytes]:
        def read(_timeout: float) -> bytes:
            self._cut(fault)
            return b""

        return read


def _purpose(request: Mapping[str, Any]) -> tuple[str, int]:
    """What the process is for, and which of a job's it is, from 1.

    Jobs name their requests ``LABEL/sweep/SEED`` and ``LABEL/NAME/PART/SEED``.
    """
    parts = str(request.get("id", "")).rsplit("/", 3)
    if len(parts) == 4 and parts[1] in PURPOSES and parts[2].isdecimal():
        return parts[1], int(parts[2]) + 1
    action = str(request.get("action", ""))
    return _PURPOSE.get(action, action), 1


def _silence(timeout: float) -> bytes:
    time.sleep(timeout)
    raise AgentTimeoutError(f"the agent said nothing for {timeout:g} s")


def _nothing(_timeout: float) -> bytes:
    return b""


def _out_of_memory(stage: str) -> dict[str, str]:
    """As ``device_agents/python/failures.py`` has it."""
    return {
        "type": "error",
        "kind": "out_of_memory",
        "stage": stage,
        "message": "the device is out of memory",
        "hint": "end what else runs there, or choose a smaller variant",
    }
