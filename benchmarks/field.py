"""LiteRT's own Python benchmark tool against our agents, on the same models in turns."""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.common import MODELS, Line, median_measured, ratios, shared
from benchmarks.native import ask, native_command

WARMUP, RUNS = 300, 3000

#: The tool as it is, but for its rounding to 0.01 ms, a sixth of what a small model takes.
_TOOL = """
import runpy, sys
from ai_edge_litert.tools import benchmark_litert_model as tool
tool.round = lambda value, digits=0: value
sys.argv[0] = "benchmark_litert_model"
tool.run_benchmark(tool.parse_args())
"""


def tool_median(model: Path, work: Path) -> float:
    """Median of one run of LiteRT's tool, ms."""
    result = work / "result.json"
    subprocess.run(
        [sys.executable, "-c", _TOOL, f"--model={model}", f"--num_runs={RUNS}",
         f"--warmup_runs={WARMUP}", "--num_threads=1", f"--result_json={result}"],
        capture_output=True, check=True,
    )  # fmt: skip
    return float(json.loads(result.read_text())["latency"]["median_ms"])


def agent_median(command: list[str], model: Path, samples: Path) -> float:
    """Median of one trial of an agent, ms."""
    messages, _ = ask(
        command,
        {
            "action": "latency", "model": {"path": str(model)}, "samples": {"path": str(samples)},
            "threads": 1, "warmup_runs": WARMUP, "warmup_seconds": 0, "min_runs": RUNS,
            "min_seconds": 0,
        },
    )  # fmt: skip
    return median_measured(messages) / 1e6


def spread(values: list[float]) -> float:
    """How much rounds differ: the median absolute deviation of the logarithms, scaled to a
    normal standard deviation."""
    logs = [math.log(value) for value in values]
    centre = statistics.median(logs)
    return 1.4826 * statistics.median(abs(value - centre) for value in logs)


def run(rounds: int) -> Iterator[Line]:
    """Median latency and spread between rounds, ours over LiteRT's own Python benchmark tool."""
    folder = shared() / "models" / "mlperf_tiny"
    native = native_command()
    with tempfile.TemporaryDirectory() as text:
        work = Path(text)
        for name in MODELS:
            side = 32 if "resnet" in name else 96
            samples, model = work / f"{side}.npy", folder / f"{name}.tflite"
            np.save(
                samples, np.random.default_rng(0).integers(0, 100, (1, side, side, 3), np.uint8)
            )
            found: dict[str, list[float]] = {"tool": [], "agent": []}

            def ours(model: Path = model, samples: Path = samples) -> float:
                return agent_median(native, model, samples)

            def theirs(model: Path = model) -> float:
                return tool_median(model, work)

            sides: list[tuple[str, Callable[[], float]]] = [("tool", theirs), ("agent", ours)]
            for index in range(rounds):
                for label, measure in sides if index % 2 else reversed(sides):
                    found[label].append(measure())
            yield Line(f"{name}, agent / tool", ratios(found["agent"], found["tool"]), 0.97, 1.03)
            print(
                f"  {name:<44} spread between rounds: agent {spread(found['agent']) * 100:.2f} %, "
                f"tool {spread(found['tool']) * 100:.2f} %"
            )
