"""An exclusive, live Device + Transport + Agent."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from device_agents.python import wire
from harness.devices import messages
from harness.devices.agents import agent_for
from harness.devices.answer import Answer
from harness.devices.benchmark_model import BenchmarkModel, find_tool
from harness.devices.blobs import Blob, BlobStore
from harness.devices.lease import REFUSED, Busy, DeviceLease, at_once
from harness.devices.leased import leased_link
from harness.devices.lock import DeviceLock
from harness.devices.store_reply import StoreReply
from harness.domain import Backend, Device, Fence, Stage
from harness.errors import (
    AgentCrashedError,
    AgentError,
    AgentSetupError,
    AgentTimeoutError,
    DeviceBusyError,
    DeviceFullError,
    LinkLostError,
    ProtocolError,
)
from harness.transports import TRANSPORTS, Process

#: Seconds an agent gets to say hello: importing TensorFlow on a small board takes a while.
HELLO_TIMEOUT = 120.0

#: Lines before it that are taken for a login script's.
_NOISE = 50

#: So many times the silence that is allowed an agent may tell that it works, without a result.
_MOST_SILENCES = 20

_RESULTS = ("loaded", "samples", "outputs", "operators")

__all__ = ["HELLO_TIMEOUT", "Answer", "Session"]

#: What is told of an agent that signal 9 ended.
_KILLED = "somebody or the system killed it, most likely for lack of memory"


class Session:
    """A context manager: takes the device's lock, link and lease, gives all back.

    ``stage`` says how far the last call came, for the record of a failure; ``linked`` whether
    link and lease were had the last time that they were asked for.
    """

    def __init__(self, device: Device, owner: str) -> None:
        self.device = device
        self.stage = Stage.CONNECT
        self.linked = False
        self.transport = TRANSPORTS[device.transport](device)
        simulated = self.transport.kind_is_simulated
        self._lock = DeviceLock(self.transport.address, device.name, owner, private=simulated)
        self._lease = DeviceLease(self.transport, device, owner)
        self._link = leased_link(self.transport, self._lease, device.name)
        limit = int(device.link.get("work_dir_mb") or 2048) * 1_000_000
        self._blobs = BlobStore(self.transport, device.name, limit)
        self._pushed: dict[str, Blob] = {}
        self._agent = agent_for(device)(device)
        self._tool: BenchmarkModel | None = None

    def __enter__(self) -> Session:
        self.open()
        return self

    def open(self, busy: Busy = at_once, *, full: bool = False) -> None:
        """Take the device once nobody else has it; see ``Busy`` for the waiting.

        With ``full``, a disk without room for the lease is no obstacle.
        """
        self.stage = Stage.CONNECT
        while True:
            try:
                self._lock.acquire()
                break
            except DeviceBusyError as error:
                busy(error)
        try:
            self.transport.open()
            try:
                self._lease.acquire(busy)
            except DeviceFullError:
                if not full:
                    raise
        except BaseException:
            self.transport.close()
            self._lock.release()
            raise
        self.linked = True

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give lease, link and lock back; never raises."""
        self._lease.release()
        self.transport.close()
        self._lock.release()

    def reconnect(self, busy: Busy = at_once) -> None:
        """A new link and lease after the old ones failed; the lock stays.

        What was pushed is looked at again: the device may have been restarted meanwhile.
        """
        self.stage, self.linked = Stage.CONNECT, False
        self._lease.drop()
        self.transport.close()
        self.transport.open()
        self._lease.acquire(busy)
        self.linked = True
        if self._pushed:
            self.stage = Stage.PUSH
            self._lease.hold(size=sum(blob.size for blob in self._pushed.values()))
            self._blobs.push(list(self._pushed.values()), lambda *_: None)

    @property
    def stands(self) -> bool:
        """Whether nothing is known that has ended link or lease; else ``reconnect``."""
        return self._lease.stands

    @property
    def fence(self) -> Fence | None:
        """What marks this session's results, where the device has a lease."""
        return self._lease.fence

    @property
    def took_over(self) -> str:
        """Whose dead session was taken over, and why it was dead; or nothing."""
        return self._lease.took_over

    def verify(self) -> None:
        """Make sure that the device is still ours, before a result is kept.

        Raises ``LeaseLostError``, ``LinkLostError``.
        """
        self._lease.verify()

    def hold(self, seconds: float) -> None:
        """Keep the device over a pause of ``seconds`` in which nothing is asked of it."""
        self._lease.hold(seconds)

    def push(
        self,
        blobs: Sequence[Blob],
        progress: Callable[[int, int], None],
        runners: Collection[str] = ("agent",),
    ) -> int:
        """Bring what runs models and the blobs to the device; returns the bytes that were sent.

        ``runners`` are those of the backends that will be asked for.
        """
        self.stage = Stage.PUSH
        programs = list(self._agent.prepare(self.transport)) if "agent" in runners else []
        if "benchmark_model" in runners:
            tool = find_tool(self.device)
            programs.append(tool)
            self._tool = BenchmarkModel(
                self.device, self._link, self._blobs, tool, self._pushed, self._enter
            )
        wanted = [*programs, *blobs]
        self._lease.hold(size=sum(blob.size for blob in wanted))
        sent = self._blobs.push(wanted, progress)
        self._pushed |= {blob.sha256: blob for blob in wanted}
        return sent

    def clean(self) -> StoreReply:
        """Remove the files that we keep on the device; ``gone`` of the answer names them."""
        self.stage = Stage.PUSH
        self._pushed.clear()
        return self._blobs.clean()

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
        the hello. The request's ``backend`` says who answers; an agent does not see it.
        Raises ``AgentError``, ``UnsupportedError`` or ``TransportError``.
        """
        backend = Backend.parse(request.get("backend", "cpu"))
        if self.device.runner(backend) == "benchmark_model":
            if self._tool is None:
                raise AgentSetupError(f"{self.device.name}: benchmark_model was not pushed")
            return self._tool.ask(
                backend, request, on_message, purpose=purpose, silence=silence, longest=longest
            )
        request = {key: value for key, value in request.items() if key != "backend"}
        self.stage = Stage.START
        name = self.device.name
        process = self._link.start(self._agent.argv(self._blobs.path))
        try:
            answer = Answer()
            answer.hello = self._hello(process)
            problem = answer.hello.get("problem")
            if isinstance(problem, dict) and request["action"] != "probe":
                raise messages.reported(problem, name)
            process.send(wire.encode({"protocol": wire.PROTOCOL_VERSION, **request}))
            self.stage = Stage.LOAD
            deadline = time.monotonic() + longest
            idle = time.monotonic() + _MOST_SILENCES * silence
            while True:
                now = time.monotonic()
                if now > deadline:
                    raise AgentTimeoutError(f"{name}: no end of the answer within {longest:g} s")
                if now > idle:
                    raise AgentTimeoutError(
                        f"{name}: the agent said for {_MOST_SILENCES * silence:g} s that it works, "
                        "and no more"
                    )
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
                if message["type"] in _RESULTS:
                    idle = now + _MOST_SILENCES * silence
                elif message["type"] != "progress":
                    raise ProtocolError(
                        f"{name}: unknown message {messages.clean(message['type'])[:60]!r}"
                    )
        finally:
            process.kill()

    def _hello(self, process: Process) -> dict[str, Any]:
        """The agent's first message; what a login shell prints before it is skipped."""
        name, noise = self.device.name, b""
        for _ in range(_NOISE):
            line = process.read_line(HELLO_TIMEOUT)
            if not line:
                self._raise_no_hello(process, noise)
            if line.lstrip().startswith(b"{"):
                return messages.check_hello(messages.decode(line, name), name)
            noise = noise or line
        messages.decode(noise, name)
        raise ProtocolError(f"{name}: {_NOISE} lines and no hello")

    def _enter(self, stage: Stage) -> None:
        self.stage = stage

    def _raise_no_hello(self, process: Process, noise: bytes) -> NoReturn:
        code, tail = process.wait(10), _last_lines(process)
        name, program = self.device.name, self._agent.program
        if code == REFUSED and self.fence is not None:
            raise self._lease.lost()
        if code in (126, 127):
            raise AgentSetupError(
                f"{name}: cannot start {program} on the device: {tail or 'not found'}",
                hint=self._agent.missing,
            )
        self._raise_if_lost()
        if code is None:
            raise LinkLostError(f"{name}: the agent was cut off before it said hello: {tail}")
        if noise.strip():
            messages.decode(noise, name)
        raise AgentCrashedError(
            f"{name}: the agent ended before it said hello ({_ending(code)}): {tail}".rstrip(": "),
            hint=f"{_KILLED}: see the device's system log" if code in (-9, 137) else None,
        )

    def _raise_if_lost(self) -> None:
        """Whoever took the device over has ended our agent: no fault of the device's."""
        with contextlib.suppress(LinkLostError, AgentError):
            self._lease.verify()

    def _raise_crash(self, process: Process) -> None:
        code = process.wait(10)
        self._raise_if_lost()
        hint = "a crash of the runtime on this model, or the device is out of memory: "
        if code in (-9, 137, 255):  # 255: ssh's word for any signal
            hint = f"{_KILLED}: "
        raise AgentCrashedError(
            f"{self.device.name}: the agent died while it was to {_doing(self.stage)} "
            f"({_ending(code)}) {_last_lines(process)}".rstrip(),
            hint=hint + "see the device's system log",
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
        Stage.SCENARIOS: "answer queries",
        Stage.OPERATORS: "time its operators",
        Stage.SUSTAINED: "run the model for minutes",
        Stage.ENERGY: "run the model beside its power meter",
    }.get(stage, "start")


def _last_lines(process: Process) -> str:
    lines = [line for line in process.stderr_tail().splitlines() if line.strip()]
    quiet = [line for line in lines if "XNNPACK delegate" not in line]
    return str(messages.clean(" / ".join(line.strip() for line in quiet[-3:])))[-400:]
