"""What the benchmarks share."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

MODELS = ("ic_resnet8_float", "ic_resnet8_int8", "vww_96_float", "vww_96_int8")


WARMUP, RUNS = 200, 2000

#: The least that a script does to time a model: its file, its samples; prints the median, ns.
BARE = f"""
import sys, time, numpy as np
from ai_edge_litert.interpreter import Interpreter
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
detail = interpreter.get_input_details()[0]
sample = np.load(sys.argv[2])[:1].astype(np.float32)
scale, zero = detail["quantization"]
if scale: sample = np.clip(np.rint(sample / scale) + zero, -128, 127)
interpreter.set_tensor(detail["index"], sample.astype(detail["dtype"]))
for _ in range({WARMUP}): interpreter.invoke()
samples = []
for _ in range({RUNS}):
    begin = time.perf_counter_ns(); interpreter.invoke()
    samples.append(time.perf_counter_ns() - begin)
print(sorted(samples)[len(samples) // 2])
"""


@dataclass(frozen=True)
class Line:
    """A result: a value or ratio, its range over rounds, and the bounds it should keep."""

    what: str
    values: tuple[float, ...]
    low: float
    high: float
    unit: str = ""

    @property
    def value(self) -> float:
        """The median over rounds."""
        return statistics.median(self.values)

    @property
    def within(self) -> bool:
        """Whether it keeps its bounds."""
        return self.low <= self.value <= self.high

    def __str__(self) -> str:
        bound = f"{self.low:g} to {self.high:g}" if self.low else f"at most {self.high:g}"
        verdict = "ok" if self.within else "OUTSIDE"
        spread = f"({min(self.values):.3f} to {max(self.values):.3f}, n={len(self.values)})"
        return f"  {self.what:<44} {self.value:7.3f}{self.unit} {spread}  wanted {bound}: {verdict}"


def shared() -> Path:
    """The folder of real models and data."""
    folder = Path(os.environ.get("HARNESS_SHARED") or ROOT.parent / "shared")
    if not (folder / "models" / "mlperf_tiny").is_dir():
        sys.exit(f"no real models at {folder}: set HARNESS_SHARED")
    return folder


def ask_agent(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Every message of a fresh agent that answers one request."""
    process = subprocess.Popen(
        [sys.executable, "-m", "device_agents.python.agent"], cwd=ROOT, stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()
    messages = [json.loads(line) for line in process.stdout]
    process.wait()
    if messages[-1]["type"] == "error":
        raise RuntimeError(messages[-1]["message"])
    return messages


def median_measured(messages: Iterable[dict[str, Any]]) -> float:
    """The median of what a latency trial measured, ns."""
    values: list[int] = []
    for message in messages:
        if message["type"] == "samples" and message["phase"] == "measure":
            values.extend(message["values"])
    return statistics.median(values)


def bare_median(model: Path, samples: Path) -> float:
    """Median of the bare loop in a fresh process, ns."""
    done = subprocess.run(
        [sys.executable, "-c", BARE, str(model), str(samples)], capture_output=True, check=True
    )
    return float(done.stdout)


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Round by round: what drifts, drifts for both."""
    return tuple(a / b for a, b in zip(ours, theirs, strict=True))
