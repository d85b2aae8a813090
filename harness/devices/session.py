"""An exclusive, live Device + Transport + Agent."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from device_agents.python import wire
from harness.devices import messages
from harness.devices.agents import agent_for
from harness.devices.blobs import Blob, BlobStore
from harness.devices.bundle import helper_source
from harness.devices.lock import DeviceLock
from harness.domain import Device, Stage
from harness.errors import (
    AgentCrashedError,
    AgentSetupError,
    AgentTimeoutError,
    LinkLostError,
    ProtocolError,
)
from harness.transports import TRANSPORTS, Process

#: Seconds an agent gets to say hello: importing TensorFlow on a small board takes a while.
HELLO_TIMEOUT = 120.0


@dataclass
class Answer:
    """What one request brought: the hello, the load times and tensors, the facts of done."""

    hello: dict[str, Any] = field(default_factory=dict)
    loaded: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


class Session:
    """A context manager: takes the device's lock and link, gives both back.

    ``stage`` says how far the last call came, for the record of a failure.
    """

    def __init__(self, device: Device, owner: str) -> None:
        self.device = device
        self.stage = Stage.CONNECT
        self.transport = TRANSPORTS[device.transport](device)
        self._lock = DeviceLock(self.transport.address, device.name, owner)
        self._blobs = BlobStore(self.transport, device.name, helper_source("blobstore.py"))
        self._agent = agent_for(device)(device)

    def __enter__(self) -> Session:
        self.stage = Stage.CONNECT
        self._lock.acquire()
        try:
            self.transport.open()
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.transport.close()
        self._lock.release()

    def reconnect(self) -> None:
        """A new link after the old one failed; the lock stays."""
        self.stage = Stage.CONNECT
        self.transport.close()
        self.transport.open()

    def push(self, blobs: Sequence[Blob], progress: Callable[[int, int], None]) -> int:
        """Bring the agent and the blobs to the device; returns the bytes that were sent."""
        self.stage = Stage.PUSH
        return self._blobs.push([*self._agent.prepare(self.transport), *blobs], progress)

    def path(self, blob: Blob) -> str:
        """Where a pushed blob is on the device."""
        return self._blobs.path(blob)

    def ask(
        self,
        request: dict[str, Any],
        on_message: Callable[[dict[str, Any], Answer], None],
        *,
        purpose: Stage,
        silence: float,
        longest: float = math.inf,
    ) -> Answer:
        """One fresh agent process serves one request.

        ``on_message(message, answer)`` gets every message between ``loaded`` and ``done``;
        ``purpose`` is the stage once the model is loaded, ``silence`` the seconds between
        two messages that are too long, ``longest`` those that the whole answer may take after
        the hello. Raises ``AgentError``, ``UnsupportedError`` or
        ``TransportError``.
        """
        self.stage = Stage.START
        name = self.device.name
        process = self.transport.start(self._agent.argv(self._blobs.path))
        try:
            answer = Answer()
            line = process.read_line(HELLO_TIMEOUT)
            if not line:
                self._raise_no_hello(process)
            answer.hello = messages.check_hello(messages.decode(line, name), name)
            problem = answer.hello.get("problem")
            if isinstance(problem, dict) and request["action"] != "probe":
                raise messages.reported(problem, name)
            process.send(wire.encode({"protocol": wire.PROTOCOL_VERSION, **request}))
            self.stage = Stage.LOAD
            deadline = time.monotonic() + longest
            while True:
                if time.monotonic() > deadline:
                    raise AgentTimeoutError(f"{name}: no end of the answer within {longest:g} s")
                line = process.read_line(silence)
                if not line:
                    self._raise_crash(process)
                message = messages.decode(line, name)
                if message["type"] == "done":
                    answer.facts = messages.done_facts(message, name)
                    return answer
                if message["type"] == "error":
                    raise messages.reported(message, name)
                if message["type"] == "loaded":
                    answer.loaded = messages.loaded(message, name)
                    self.stage = purpose
                elif message["type"] in ("samples", "outputs", "operators"):
                    on_message(message, answer)
                elif message["type"] != "progress":
                    raise ProtocolError(
                        f"{name}: unknown message {messages.clean(message['type'])[:60]!r}"
                    )
        finally:
            process.kill()

    def _raise_no_hello(self, process: Process) -> None:
        code, tail = process.wait(10), _last_lines(process)
        name, program = self.device.name, self._agent.program
        if code in (126, 127):
            raise AgentSetupError(
                f"{name}: cannot start {program} on the device: {tail or 'not found'}",
                hint=self._agent.missing,
            )
        if code is None or code < 0:
            raise LinkLostError(f"{name}: the agent was cut off before it said hello: {tail}")
        raise AgentCrashedError(
            f"{name}: the agent ended before it said hello ({_ending(code)}): {tail}"
        )

    def _raise_crash(self, process: Process) -> None:
        code = process.wait(10)
        raise AgentCrashedError(
            f"{self.device.name}: the agent died while it was to {_doing(self.stage)} "
            f"({_ending(code)}) {_last_lines(process)}".rstrip(),
            hint="a crash of the runtime on this model, or the device is out of memory: "
            "see the device's system log",
        )


def _ending(code: int | None) -> str:
    if code is None:
        return "no exit code"
    if code < 0 or 128 < code < 160:
        return f"signal {-code if code < 0 else code - 128}"
    return f"exit code {code}"


def _doing(stage: Stage) -> str:
    return {
        Stage.LOAD: "load the model",
        Stage.LATENCY: "time the model",
        Stage.ACCURACY: "run the dataset",
        Stage.CHECK: "run the output check",
    }.get(stage, "start")


def _last_lines(process: Process) -> str:
    lines = [line for line in process.stderr_tail().splitlines() if line.strip()]
    quiet = [line for line in lines if "XNNPACK delegate" not in line]
    return str(messages.clean(" / ".join(line.strip() for line in quiet[-3:])))[-400:]
