"""A variant compared with itself on this machine: every difference that is shown is false."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.common import Line, median_measured, shared
from benchmarks.native import ask, native_command
from harness.decide.compare import MIN_EFFECT, SIGNIFICANCE
from harness.domain import Policy
from harness.stats import Effect, benjamini_hochberg, median_ratio

#: Repetitions per round that was asked for: ten rounds are a hundred.
REPETITIONS = 10

_LOAD = "while True: sum(range(10_000))"


def trial(command: list[str], model: Path, samples: Path) -> float:
    """The median of one fresh process, ns."""
    messages, _ = ask(
        command,
        {
            "action": "latency", "model": {"path": str(model)}, "samples": {"path": str(samples)},
            "threads": 1, "warmup_runs": 50, "warmup_seconds": 0.05, "min_runs": 50,
            "min_seconds": 0.1,
        },
    )  # fmt: skip
    return median_measured(messages)


@contextlib.contextmanager
def loaded_core(wanted: bool) -> Iterator[None]:
    """Another process that keeps the last processor busy."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", _LOAD])
    try:
        os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
        yield
    finally:
        process.kill()
        process.wait()


def repetition(command: list[str], model: Path, samples: Path, trials: int, index: int) -> Effect:
    """Both sides in turns, as a lane has them, compared as ``harness compare`` does."""
    sides: tuple[list[float], list[float]] = ([], [])
    for round_ in range(trials):
        for side in sides if (round_ + index) % 2 else reversed(sides):
            side.append(trial(command, model, samples))
    return median_ratio(np.array(sides[0]), np.array(sides[1]), seed=index)


def run(rounds: int) -> Iterator[Line]:
    """False alarms of a variant compared with itself, with and without another busy process."""
    count, trials = REPETITIONS * rounds, Policy().trials
    model = shared() / "models" / "mlperf_tiny" / "ic_resnet8_int8.tflite"
    command = native_command()
    with tempfile.TemporaryDirectory() as text:
        samples = Path(text) / "samples.npy"
        np.save(samples, np.random.default_rng(0).integers(0, 100, (1, 32, 32, 3), np.uint8))
        for load in (False, True):
            with loaded_core(load):
                effects = [
                    repetition(command, model, samples, trials, index) for index in range(count)
                ]
            where = "one core loaded" if load else "nothing else running"
            adjusted = benjamini_hochberg(np.array([effect.p for effect in effects]))
            alone = sum(
                effect.p <= SIGNIFICANCE and not effect.low <= 1 <= effect.high
                for effect in effects
            )
            shown = sum(
                p <= SIGNIFICANCE
                and not effect.low <= 1 <= effect.high
                and max(effect.value, 1 / effect.value) >= 1 + MIN_EFFECT
                for p, effect in zip(adjusted, effects, strict=True)
            )
            widths = [(effect.high - effect.low) / 2 * 100 for effect in effects]
            print(
                f"  {where}: {count} comparisons of {trials} trials a side, half-width of the "
                f"interval {statistics.median(widths):.2f} % (median); p <= {SIGNIFICANCE:g} "
                f"alone: {alone}"
            )
            yield Line(f"{where}, false alarms in {count}", (float(shown),), 0, 0.05 * count)
