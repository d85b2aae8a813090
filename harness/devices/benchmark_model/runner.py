"""Answers requests as an agent does, by runs of the tool."""

from __future__ import annotations

import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_agents.python import wire
from harness.cache import cache_dir, whole_file
from harness.devices import messages
from harness.devices.answer import Answer
from harness.devices.benchmark_model import delegation, flags, operators, output, process, result
from harness.devices.benchmark_model.sweep import Batches
from harness.devices.benchmark_model.tensors import (
    Tensors,
    input_bytes,
    read_tensors,
    size_of,
    split_outputs,
)
from harness.devices.blobs import Blob, BlobStore
from harness.domain import Backend, Device, Stage
from harness.errors import AgentReportedError, ProtocolError
from harness.transports import Transport

Listener = Callable[[dict[str, Any], Answer], None]

#: Seconds of a run whose peak memory is asked for; the tool looks every few milliseconds.
_MEMORY_SECONDS = 0.3

#: The most that a profile of operators may hold, bytes.
_MAX_PROFILE = 16 * 1024 * 1024


class BenchmarkModel:
    """The tool on one device; its session has the link, and knows what was pushed.

    ``pushed`` gives the file of this machine for a sha256; ``enter`` is told each stage.
    """

    def __init__(
        self,
        device: Device,
        transport: Transport,
        blobs: BlobStore,
        tool: Blob,
        pushed: Mapping[str, Blob],
        enter: Callable[[Stage], None],
    ) -> None:
        self._device = device
        self._name = device.name
        self._transport = transport
        self._blobs = blobs
        self._tool = tool
        self._pushed = pushed
        self._enter = enter
        self._tensors: dict[str, Tensors] = {}

    def ask(
        self,
        backend: Backend,
        request: Mapping[str, Any],
        on_message: Listener,
        *,
        purpose: Stage,
        silence: float,
        longest: float = inf,
    ) -> Answer:
        """See ``Session.ask``."""
        one = _Request(self, backend, request, on_message, purpose, silence, longest)
        self._enter(Stage.START)
        platform, one.known = process.probe(
            self._transport, self._blobs.path(self._tool), self._name
        )
        one.answer.hello = messages.check_hello(self._hello(platform), self._name)
        action = request["action"]
        if action == "probe":
            return one.answer
        answers = {"latency": one.latency, "sweep": one.sweep, "operators": one.operators}
        if action not in answers:
            raise AgentReportedError(f"{self._name}: benchmark_model cannot do {action!r}")
        self._enter(Stage.LOAD)
        answers[action]()
        return one.answer

    def _hello(self, platform: Mapping[str, Any]) -> dict[str, Any]:
        """The tool does not tell its version: the hash of the binary stands for it."""
        sha256 = self._tool.sha256
        return {
            "type": "hello",
            "protocol": wire.PROTOCOL_VERSION,
            "agent": "benchmark_model",
            "agent_version": sha256,
            "platform": dict(platform),
            "clock": {"name": "benchmark_model", "resolution_ns": 1000},
            "runtime": {"name": "benchmark_model", "version": f"sha256:{sha256[:12]}"},
            "numpy": None,
            "problem": None,
        }

    def tensors(self, sha256: str) -> Tensors:
        """The tensors of a pushed variant."""
        if sha256 not in self._tensors:
            self._tensors[sha256] = read_tensors(self.file(sha256), self._name)
        return self._tensors[sha256]

    def file(self, sha256: str) -> Path:
        """A pushed file on this machine."""
        if sha256 not in self._pushed:
            raise AgentReportedError(f"{self._name}: {sha256[:80]} was not pushed")
        return self._pushed[sha256].path


class _Request:
    """One request on its way."""

    def __init__(
        self,
        runner: BenchmarkModel,
        backend: Backend,
        request: Mapping[str, Any],
        on_message: Listener,
        purpose: Stage,
        silence: float,
        longest: float,
    ) -> None:
        self.answer = Answer()
        self.known: frozenset[str] = frozenset()
        self._runner, self._backend, self._request = runner, backend, request
        self._on_message, self._purpose = on_message, purpose
        self._silence, self._longest = silence, longest
        self._name = runner._name
        self._transport, self._blobs = runner._transport, runner._blobs
        self._folder = f"{self._blobs.root}/benchmark_model"

    # -- what can be asked -----------------------------------------------------------------

    def latency(self) -> None:
        """One process with the Policy's stop rule; statistics, for it keeps no samples."""
        request, tensors = self._request, self._model()
        asked = flags.stop_rule(request)
        limit = float(request.get("max_seconds", 150.0))
        stop = flags.stop_flags(asked, limit)
        more = ["--result_file_path=result.pb"] if "result_file_path" in self.known else []
        lines = self._run([*stop, *self._inputs(tensors), *more], limit)
        found = output.parse(lines, self._name, asked)
        delegated = self._delegated(lines)
        if more:
            result.agree(
                result.read_result(self._get("result.pb", result.MAX_BYTES), self._name),
                found,
                self._name,
            )
        self._loaded(tensors, found)
        measured = found.measured
        self.answer.facts = {
            "stopped_by": "enough" if measured.count >= asked.runs else "max_seconds",
            "memory_peak_bytes": {},
            "threads_asked": self._backend.threads,
            "threads_found": None,
            "delegated": delegated,
            "cores": request.get("cores"),
        }
        self.answer.summary = {
            **measured.as_json(),
            "first_inference": found.first_us,
            "warmup": found.warmup.as_json(),
        }

    def sweep(self) -> None:
        """Each sample in a process of its own."""
        request, tensors = self._request, self._model()
        samples = self._samples()
        count = request.get("count", len(samples))
        asked = request.get("outputs", [0])
        if type(count) is not int or not 0 < count <= len(samples):
            raise AgentReportedError(f"{self._name}: {count!r} of {len(samples)} samples")
        if len(tensors.inputs) != 1:
            raise AgentReportedError(
                f"{self._name}: the model has {len(tensors.inputs)} inputs; a sweep feeds one"
            )
        if not all(0 <= index < len(tensors.outputs) for index in asked):
            raise AgentReportedError(
                f"{self._name}: outputs {asked} of a model with {len(tensors.outputs)}"
            )
        spec = tensors.inputs[0]
        size = sum(size_of(item, self._name) for item in tensors.outputs)
        found, delegated = self._look(tensors)
        self._loaded(tensors, found)
        once = output.Asked(0, 0, 1, 0)
        batches = Batches(
            self._transport,
            self._folder,
            self._checked(
                [
                    *flags.stop_flags(once, self._silence),
                    *flags.input_flags([spec], ["input"]),
                    "--output_filepath=output",
                ]
            ),
            self._name,
            self._backend.accelerator,
            size_of(spec, self._name),
            size,
            self._delegated,
            self._silence,
        )
        begin = time.monotonic_ns()
        for start in range(0, count, batches.step):
            block = np.asarray(samples[start : min(start + batches.step, count)])
            data = input_bytes(block, request.get("preprocessing") or {}, spec, self._name)
            arrays = split_outputs(batches.run(data), len(block), tensors.outputs, self._name)
            for tensor in asked:
                self._on_message(_outputs(tensor, start, arrays[tensor]), self.answer)
        self._transport.run(["rm", "-rf", self._folder])
        self.answer.facts = {
            "samples": count,
            "elapsed_ns": time.monotonic_ns() - begin,
            "workers": 1,
            "batch": 1,
            "memory_peak_bytes": {"end": found.peak_memory_bytes},
            "delegated": delegated,
        }

    def operators(self) -> None:
        """The profile of a run of its own, for profiling slows what it watches."""
        request, tensors = self._request, self._model()
        runs = int(request.get("runs", 50))
        asked = output.Asked(
            int(request.get("warmup_runs", 1)) + 1, float(request.get("warmup_seconds", 0.5)),
            runs, 0,
        )  # fmt: skip
        limit = float(request.get("max_seconds", 150.0))
        profile = ["--enable_op_profiling=true"]
        if "op_profiling_output_file" in self.known:
            profile.append("--op_profiling_output_mode=csv")
            profile.append("--op_profiling_output_file=operators.csv")
        elif "profiling_output_csv_file" in self.known:
            profile.append("--profiling_output_csv_file=operators.csv")
        stop = flags.stop_flags(asked, limit)
        lines = self._run([*stop, *self._inputs(tensors), *profile], limit)
        found = output.parse(lines, self._name, asked)
        delegated = self._delegated(lines)
        self._loaded(tensors, found)
        text = "\n".join(lines)
        if len(profile) > 1:
            text = self._get("operators.csv", _MAX_PROFILE).decode("utf-8", "replace")
        self._on_message(operators.read_operators(text, self._name), self.answer)
        self.answer.summary = found.measured.as_json()
        self.answer.facts = {"delegated": delegated, "memory_peak_bytes": {}}

    # -- parts -----------------------------------------------------------------------------

    def _look(self, tensors: Tensors) -> tuple[output.Output, dict[str, Any]]:
        """A short run before a sweep: that all is well, and the peak of its memory.

        Watching memory takes a thread that would disturb a latency trial.
        """
        memory = "report_peak_memory_footprint" in self.known
        asked = output.Asked(1, 0, 1, _MEMORY_SECONDS if memory else 0)
        more = ["--report_peak_memory_footprint=true"] if memory else []
        if memory and "memory_footprint_check_interval_ms" in self.known:
            more.append("--memory_footprint_check_interval_ms=5")
        stop = flags.stop_flags(asked, self._silence)
        lines = self._run([*stop, *self._inputs(tensors), *more], self._silence)
        return output.parse(lines, self._name, asked), self._delegated(lines)

    def _model(self) -> Tensors:
        return self._runner.tensors(str(self._request["model"]["sha256"]))

    def _samples(self) -> NDArray[Any]:
        path = self._runner.file(str(self._request["samples"]["sha256"]))
        try:
            return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        except (OSError, ValueError) as error:
            raise AgentReportedError(f"{self._name}: cannot read the samples: {error}") from None

    def _checked(self, more: list[str]) -> list[str]:
        """The whole command line; paths as the work folder sees them. Every flag is known."""
        tool = process.pinned(f"../blobs/{self._runner._tool.sha256}", self._request)
        model = str(self._request["model"]["sha256"])
        used = [f"--graph=../blobs/{model}", *flags.backend_flags(self._backend), *more]
        unknown = [
            item for item in used if item.removeprefix("--").split("=", 1)[0] not in self.known
        ]
        flags.refuse_unknown(unknown, self._backend, self._name)
        return [*tool, *used]

    def _run(self, more: list[str], limit: float) -> list[str]:
        return process.run(
            self._transport,
            self._folder,
            self._checked(more),
            self._name,
            self._backend.accelerator,
            # While it measures, it says nothing.
            silence=self._silence + limit,
            longest=self._longest,
        )

    def _inputs(self, tensors: Tensors) -> list[str]:
        """The first sample for the first input and zeros for the others, as agents do."""
        first = self._samples()[:1]
        preprocessing = self._request.get("preprocessing") or {}
        contents = [
            input_bytes(first, preprocessing, spec, self._name)
            if position == 0
            else bytes(size_of(spec, self._name))
            for position, spec in enumerate(tensors.inputs)
        ]
        files = [_cached(content) for content in contents]
        self._blobs.push(files, lambda *_: None)
        return flags.input_flags(tensors.inputs, [f"../blobs/{blob.sha256}" for blob in files])

    def _delegated(self, lines: Any) -> dict[str, Any]:
        flags.refuse_unknown(output.unconsumed(lines), self._backend, self._name)
        return delegation.delegated(
            lines, self._backend.accelerator, self._model().operators, self._name
        )

    def _loaded(self, tensors: Tensors, found: output.Output) -> None:
        message = tensors.as_message(found.init_us)
        self.answer.loaded = messages.loaded(message, self._name)
        self._runner._enter(self._purpose)

    def _get(self, name: str, limit: int) -> bytes:
        with tempfile.TemporaryDirectory() as here:
            path = Path(here) / "file"
            self._transport.get(f"{self._folder}/{name}", path, limit=limit)
            data = path.read_bytes()
        if not data:
            raise ProtocolError(f"{self._name}: benchmark_model wrote an empty {name}")
        return data


def _cached(content: bytes) -> Blob:
    """Bytes as a file that can be pushed by its content."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = cache_dir("host", "inputs") / sha256
    if not path.exists():
        with whole_file(path) as part:
            part.write_bytes(content)
    return Blob(path, sha256, len(content), "one input")


def _outputs(tensor: int, offset: int, values: NDArray[Any]) -> dict[str, Any]:
    return {
        "type": "outputs",
        "tensor": tensor,
        "offset": offset,
        "shape": list(values.shape),
        "dtype": str(values.dtype),
        "data": wire.pack(np.ascontiguousarray(values)),
    }
