"""Agent against a bare Interpreter loop."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.common import (
    MODELS,
    RUNS,
    WARMUP,
    Line,
    ask_agent,
    bare_median,
    median_measured,
    ratios,
    shared,
)


def agent_median(model: Path, samples: Path) -> float:
    """Median of one latency trial, ns."""
    request = {
        "protocol": 1, "action": "latency", "model": {"path": str(model)},
        "samples": {"path": str(samples)}, "threads": 1, "warmup_runs": WARMUP,
        "warmup_seconds": 0, "min_runs": RUNS, "min_seconds": 0,
    }  # fmt: skip
    return median_measured(ask_agent(request))


def run(rounds: int) -> Iterator[Line]:
    """Median latency of the agent over that of a bare Interpreter loop."""
    folder = shared() / "models" / "mlperf_tiny"
    with tempfile.TemporaryDirectory() as work:
        for name in MODELS:
            side = 32 if "resnet" in name else 96
            samples = Path(work) / f"{side}.npy"
            np.save(
                samples, np.random.default_rng(0).integers(0, 100, (1, side, side, 3), np.uint8)
            )
            ours, theirs = [], []
            for index in range(rounds):
                order = (agent_median, bare_median) if index % 2 else (bare_median, agent_median)
                for measure in order:
                    found = measure(folder / f"{name}.tflite", samples)
                    (ours if measure is agent_median else theirs).append(found)
            yield Line(f"{name}, agent / bare loop", ratios(ours, theirs), 0.98, 1.02)
