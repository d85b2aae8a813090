"""Devices that are not there: the real agent in this process, on a modelled clock.

The agent's own code serves every request. Its clock advances by what the cost model says
(``harness.simulation``), with seeded noise, and the inferences of a timed trial are not
really run; a sweep really runs the variant on this machine, so accuracies are true.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from device_agents.python import agent
from device_agents.python.failures import AgentFailure
from device_agents.python.runtimes import find_runtime
from harness.cache import cache_dir
from harness.domain import Backend, Device
from harness.errors import (
    AgentTimeoutError,
    ModelError,
    UnsupportedError,
)
from harness.simulation import Estimate, estimate, read_graph
from harness.simulation.roofline import MODEL_VERSION
from harness.simulation.thermal import Thermal
from harness.transports.local import LocalTransport, copy_bounded
from harness.transports.transport import Completed, Upload

#: What one reading of the modelled clock costs, ns.
_TICK_NS = 40

#: Samples of noise drawn at a time.
_NOISE_BLOCK = 4096


class ModelledClock:
    """A clock that moves only when something is modelled to take time."""

    name = "modelled"
    real = False

    def __init__(self) -> None:
        self._now = 0
        #: Told of the seconds that the agent rests.
        self.rested: Callable[[float], None] = lambda _seconds: None

    def sleep(self, seconds: float) -> None:
        """Let ``seconds`` go by in which nothing runs."""
        self.advance(seconds * 1e9)
        self.rested(seconds)

    def now_ns(self) -> int:
        """The modelled time, ns."""
        self._now += _TICK_NS
        return self._now

    def advance(self, ns: float) -> None:
        """Let ``ns`` go by."""
        self._now += int(ns)

    def sleep_until(self, when_ns: int) -> None:
        """Nothing happens until then."""
        self._now = max(self._now, when_ns)

    def resolution_ns(self) -> int:
        """The step of the clock."""
        return _TICK_NS


class _ModelledSystem:
    """What the agent can observe of a device that is not there."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.memory = int(device.simulation["memory_mb"] * 1e6)
        self.threads = 1
        #: Heat is followed under sustained load only: other trials are as of a device that is
        #: kept cool, at rest's temperature and the full clock.
        self.thermal = Thermal(device.simulation, 0.0, 0)

    def describe(self) -> dict[str, Any]:
        """See the agent's ``System``."""
        return {
            "system": "simulated",
            "machine": "simulated",
            "release": MODEL_VERSION,
            "cpu_count": self._device.simulation.get("cores", 1),
            "cpu_model": self._device.title,
            "profile": hashlib.sha256(
                json.dumps(dict(self._device.simulation), sort_keys=True).encode()
            ).hexdigest()[:12],
        }

    def peak_memory_bytes(self) -> int:
        """See the agent's ``System``."""
        return self.memory

    def resident_memory_bytes(self) -> int:
        """See the agent's ``System``: what is modelled never gives memory back."""
        return self.memory

    def thread_count(self) -> int:
        """See the agent's ``System``."""
        return self.threads

    def conditions(self) -> dict[str, Any]:
        """See the agent's ``System``: there are no other processes."""
        now = self.thermal.read()
        return {
            "busy_s": None,
            "own_s": None,
            "frequency_mhz": now.clock_mhz,
            "frequency_max_mhz": None if now.clock_mhz is None
            else self._device.simulation["clock_mhz"],
            "temperature_c": None if now.temperature_c is None else round(now.temperature_c, 3),
            "involuntary_switches": None,
            "processors": self._device.simulation.get("cores", 1),
        }  # fmt: skip

    def sensors(self) -> _ModelledSystem:
        """See the agent's ``System``; power as well, which real devices are asked for."""
        return self

    def read(self) -> list[tuple[str, str, int]]:
        """See the agent's ``Sensors``."""
        now = self.thermal.read()
        told = (
            ("temperature", "m°C", now.temperature_c, 1e3),
            ("frequency", "kHz", now.clock_mhz, 1e3),
            ("power", "µW", now.power_w, 1e6),
        )
        return [
            (phase, unit, round(value * factor))
            for phase, unit, value, factor in told
            if value is not None
        ]

    def cores(self) -> None:
        """A modelled device has no cores to choose from."""

    def keep_to(self, _cores: Sequence[int]) -> None:
        """See the agent's ``System``; this process keeps its own."""


class _ModelledInterpreter:
    """A real interpreter whose time is modelled; timed invokes are not really run."""

    def __init__(
        self,
        real: Any,
        cost: Estimate,
        clock: ModelledClock,
        noise: Iterator[float],
        *,
        really_run: bool,
        thermal: Thermal | None = None,
    ) -> None:
        self._real = real
        self._thermal = thermal
        self._cost = cost
        self._clock = clock
        self._noise = noise
        self._really_run = really_run
        self._ran = False
        #: How much longer than the cost model says the newest inference took.
        self.slower = 1.0
        clock.advance(cost.init_ns * 0.4)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def allocate_tensors(self) -> None:
        self._clock.advance(self._cost.init_ns * 0.6)
        self._real.allocate_tensors()

    def invoke(self) -> None:
        cost = self._cost.invoke_ns if self._ran else self._cost.first_ns
        took = cost * next(self._noise)
        if self._thermal is not None:
            took *= self._thermal.slowdown
            self._thermal.work(took * 1e-9)
        self._clock.advance(took)
        self.slower = took / max(1, self._cost.invoke_ns)
        self._ran = True
        if self._really_run:
            self._real.invoke()


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
        #: The model of an Edge TPU has all operators on it, that of a processor none elsewhere.
        self._delegated = accelerator != "cpu"

    def events(self) -> list[tuple[str, int, int, bool]]:
        """See the agent's ``run_operators``."""
        slower = self._interpreter.slower
        return [
            (name, node, round(ns * slower), self._delegated)
            for node, (name, ns) in enumerate(zip(self._names, self._cost.operator_ns, strict=True))
        ]


class _ModelledRuntime:
    """A runtime that times by the cost model and computes with the host's own runtime."""

    name = "simulated"

    def __init__(
        self,
        device: Device,
        clock: ModelledClock,
        system: _ModelledSystem,
        seed: Callable[[], int],
    ) -> None:
        self._host = find_runtime()
        self.version = f"{MODEL_VERSION} over {self._host.name} {self._host.version}"
        self._device, self._clock, self._system, self._seed = device, clock, system, seed

    def delegated(self, _interpreter: Any) -> None:
        """The cost model places no operators."""

    def failure(self, _error: Exception) -> None:
        """There is no accelerator that could fail."""

    def profiler(self, interpreter: _ModelledInterpreter) -> _ModelledProfiler:
        """See the agent's ``run_operators``."""
        return _ModelledProfiler(interpreter, *self._profiled)

    def interpreter(
        self, path: str, threads: int, accelerator: str, purpose: str, request: Mapping[str, Any]
    ) -> Any:
        """See the agent's ``Runtime``."""
        file = Path(path)
        try:
            graph = read_graph(file)
            cost = estimate(
                graph,
                file.stat().st_size,
                Backend(accelerator, threads),
                self._device.simulation,
            )
        except (UnsupportedError, ModelError) as error:
            kind = "unsupported" if isinstance(error, UnsupportedError) else "bad_model"
            raise AgentFailure(kind, "load", error.message, error.hint or "") from None
        with _quiet_first_time():
            real = self._host.interpreter(path, 1, "cpu", purpose, request)
            real.allocate_tensors()
        self._profiled = [operator.name for operator in graph.operators], cost, accelerator
        self._system.memory = cost.memory_bytes
        self._system.threads = threads if accelerator == "cpu" else 1
        thermal = None
        if purpose == "sustained":
            cores = self._device.simulation.get("cores", threads)
            share = min(1.0, threads / cores) if accelerator == "cpu" else 1.0
            thermal = self._system.thermal = Thermal(self._device.simulation, share, self._seed())
            self._clock.rested = thermal.rest
        return _ModelledInterpreter(
            real,
            cost,
            self._clock,
            _noise(self._device.simulation, self._seed()),
            really_run=purpose == "sweep",
            thermal=thermal,
        )


def _noise(profile: Mapping[str, Any], seed: int) -> Iterator[float]:
    """Log-normal factors around 1: one for the trial, times one for each sample."""
    rng = np.random.default_rng(seed)
    trial = float(np.exp(rng.normal(0, profile["trial_noise_percent"] / 100)))
    sigma = profile["noise_percent"] / 100
    while True:
        yield from (trial * np.exp(rng.normal(0, sigma, _NOISE_BLOCK))).tolist()


_announced = threading.Event()
_announcing = threading.Lock()


@contextlib.contextmanager
def _quiet_first_time() -> Iterator[None]:
    """LiteRT announces its CPU delegate once per process on stderr; keep it off the terminal."""
    if _announced.is_set():
        yield
        return
    with _announcing:
        kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(null, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(null)
            _announced.set()


class SimulatedProcess:
    """The agent in a thread, with queues for its streams."""

    def __init__(self, device: Device) -> None:
        self._requests: queue.Queue[bytes] = queue.Queue(1)
        self._lines: queue.Queue[bytes] = queue.Queue(64)
        self._killed = threading.Event()
        self._seed = 0
        self._stderr = ""
        self._exit_code: int | None = None
        clock, system = ModelledClock(), _ModelledSystem(device)
        self._thread = threading.Thread(
            target=self._serve, args=(device, clock, system), name=f"simulated-{device.name}",
            daemon=True,
        )  # fmt: skip
        self._thread.start()

    def _serve(self, device: Device, clock: ModelledClock, system: _ModelledSystem) -> None:
        def find(_wanted: str | None) -> _ModelledRuntime:
            return _ModelledRuntime(device, clock, system, lambda: self._seed)

        code = 1
        try:
            with contextlib.suppress(BrokenPipeError):
                code = agent.serve(self._read_request, self._write, clock, system, find=find)
        except Exception as error:  # as a crash of a real agent: a last word, then the end
            self._stderr = f"{type(error).__name__}: {error}"
        finally:
            self._exit_code = code
            self._put(b"")

    def _read_request(self) -> bytes:
        while not self._killed.is_set():
            with contextlib.suppress(queue.Empty):
                return self._requests.get(timeout=0.1)
        return b""

    def _write(self, data: bytes) -> None:
        if not self._put(data):
            raise BrokenPipeError

    def _put(self, data: bytes) -> bool:
        while not self._killed.is_set():
            with contextlib.suppress(queue.Full):
                self._lines.put(data, timeout=0.1)
                return True
        return False

    def send(self, data: bytes) -> None:
        """See ``Process``. The request's ``id`` seeds the noise: same suite, same numbers."""
        identity = str(json.loads(data).get("id", ""))
        self._seed = int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big")
        self._requests.put(data)

    def read_line(self, timeout: float) -> bytes:
        """See ``Process``."""
        try:
            return self._lines.get(timeout=timeout)
        except queue.Empty:
            raise AgentTimeoutError(f"the agent said nothing for {timeout:g} s") from None

    def wait(self, timeout: float) -> int | None:
        """See ``Process``."""
        self._thread.join(timeout)
        return self._exit_code

    def kill(self) -> None:
        """See ``Process``."""
        self._killed.set()

    def stderr_tail(self) -> str:
        """See ``Process``."""
        return self._stderr


class SimulatedTransport:
    """A link to a modelled device."""

    kind_is_simulated: ClassVar[bool] = True
    resumes: ClassVar[bool] = True

    def __init__(self, device: Device) -> None:
        self._device = device

    @property
    def runs_on_host(self) -> bool:
        """Always: what is modelled still costs this machine's time."""
        return True

    @property
    def address(self) -> str:
        """One per profile."""
        return f"simulated:{self._device.name}"

    @property
    def python(self) -> str:
        """A name; nothing is started."""
        return "python3"

    @property
    def work_dir(self) -> str:
        """A folder of this machine's cache."""
        name = hashlib.sha256(self._device.name.encode()).hexdigest()[:16]
        return str(cache_dir("host", "simulated", name))

    def open(self) -> None:
        """Nothing to connect."""

    def close(self) -> None:
        """Nothing to close."""

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60) -> Completed:
        """Our own helper scripts run here: they only touch the folder of simulated devices."""
        if argv[0] != "sh":
            return Completed(127, b"", f"{argv[0]}: a simulated device has no programs".encode())
        return LocalTransport(self._device).run(argv, stdin=stdin, timeout=timeout)

    def put(self, files: Sequence[Upload], progress: Callable[[int], None]) -> None:
        """See ``Transport``."""
        LocalTransport(self._device).put(files, progress)

    def get(self, remote: str, local: Path, *, limit: int) -> int:
        """See ``Transport``."""
        return copy_bounded(remote, local, limit)

    def start(self, argv: Sequence[str]) -> SimulatedProcess:
        """See ``Transport``."""
        del argv
        return SimulatedProcess(self._device)

    def stay(self, argv: Sequence[str]) -> SimulatedProcess:
        """See ``Transport``."""
        return self.start(argv)
