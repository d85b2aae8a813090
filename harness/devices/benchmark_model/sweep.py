"""A whole dataset through the tool: inputs as files there, outputs as files back, in batches."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.devices import messages
from harness.devices.benchmark_model import process
from harness.errors import AgentReportedError, DeviceFullError, HarnessError, PullError
from harness.transports import Transport
from harness.transports.transport import Upload

#: Samples of one round trip, and bytes of their inputs and outputs on the device: whichever is
#: reached first.
BATCH = 500
BATCH_BYTES = 16 * 1024 * 1024

#: What a device says when nothing more fits.
_FULL = ("No space left", "Disk quota exceeded")

_PROBLEM = re.compile(r"benchmark_sweep problem (\d{1,6}) (.*)")
_SAID = re.compile(r"benchmark_sweep (ok|log|end) (\d{1,6})(?: (\d{1,3}) (\d{1,15}))?")


@dataclass(frozen=True, slots=True)
class Batches:
    """How samples go through the tool; ``check(lines)`` judges what a run printed."""

    transport: Transport
    folder: str
    argv: Sequence[str]
    device: str
    accelerator: str
    input_size: int
    output_size: int
    check: Callable[[Sequence[str]], object]
    silence: float

    @property
    def step(self) -> int:
        """Samples of one batch."""
        return max(1, min(BATCH, BATCH_BYTES // (self.input_size + self.output_size)))

    def run(self, inputs: bytes) -> bytes:
        """The outputs of one batch, joined; raises ``HarnessError`` for the first bad run."""
        count = len(inputs) // self.input_size
        with tempfile.TemporaryDirectory() as here:
            sent, got = Path(here) / "inputs", Path(here) / "outputs"
            sent.write_bytes(inputs)
            self.transport.put([Upload(sent, f"{self.folder}/inputs")], lambda _: None)
            self._runs(count)
            size = count * self.output_size
            if self.transport.get(f"{self.folder}/outputs", got, limit=size) != size:
                raise PullError(f"{self.device}: the outputs of {count} samples are not whole")
            return got.read_bytes()

    def _runs(self, count: int) -> None:
        done, log = 0, None
        arguments = [self.folder, count, self.input_size, self.output_size, *self.argv]
        said = process.stream(
            self.transport,
            "benchmark_sweep.sh",
            list(map(str, arguments)),
            self.device,
            silence=self.silence,
        )
        lines: list[str] = []
        for line in said:
            problem = _PROBLEM.fullmatch(line)
            if problem is not None and int(problem[1]) == done:
                raise self._cannot_write(problem[2])
            found = _SAID.fullmatch(line)
            if found is None or int(found[2]) != done:
                if log is not None:
                    lines.append(line)
            elif found[1] == "log":
                log, lines = done, []
            else:
                if found[1] == "end":
                    self._judge(lines, int(found[3] or 255), int(found[4] or 0))
                    log = None
                done += 1
        if done != count:
            raise process.cut_off(self.device, lines)

    def _cannot_write(self, why: str) -> HarnessError:
        said = messages.clean(why)[:300]
        text = f"{self.device}: a sweep's files cannot be written in {self.folder}: {said}"
        if any(word in why for word in _FULL):
            return DeviceFullError(
                text, hint="free some space on the device, or set its work_dir to another disk"
            )
        return AgentReportedError(text)

    def _judge(self, lines: Sequence[str], code: int, size: int) -> Any:
        process.judge(code, lines, self.device, self.accelerator)
        self.check(lines)
        if size != self.output_size:
            raise AgentReportedError(
                f"{self.device}: benchmark_model saved {size:,} bytes of outputs, and the variant "
                f"has {self.output_size:,}",
                hint="run this variant with an agent",
            )
