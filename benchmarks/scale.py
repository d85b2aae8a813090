"""A thousand simulated devices: time, memory, and what a job costs the scheduler."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import Line

RECIPES = ("float32", "float16", "dynamic_int8", "int8", "int8_float_io", "uint8_io")

#: Exactly five trials of 20 inferences without a warm-up: what is measured here is the harness.
POLICY = """
[policy]
trials = 5
max_trials = 5
warmup_seconds = 0.0
steady_within = 0.0
min_runs = 20
min_seconds = 0.0
"""

#: Wall time, processor time and peak memory of a run, by itself at its end; of the wall time, what
#: agents and their runtime took (``inside``), and so what is left for the scheduler and the store.
RUN = """
import json, sys, time
import harness
from harness.devices import session
inside = 0.0
ask = session.Session.ask
def timed(self, *args, **options):
    global inside
    begin = time.perf_counter()
    try:
        return ask(self, *args, **options)
    finally:
        inside += time.perf_counter() - begin
session.Session.ask = timed
begin, used = time.perf_counter(), time.process_time()
result = harness.run(sys.argv[1], store=sys.argv[2])
seconds, used = time.perf_counter() - begin, time.process_time() - used
counts = {status.value: count for status, count in result.outcome.counts.items()}
peak = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM"))
print(json.dumps({"seconds": seconds, "cpu": used, "peak_mb": peak / 1000, "inside": inside,
                  "counts": counts}))
"""

_PROFILE = """
[device.{name}]
transport = "simulated"
default_backend = "cpu x4"
[device.{name}.simulation]
float_gmacs = {rate}
int8_gmacs = 7.0
int16_gmacs = 0.06
thread_scaling = 0.8
cores = 4
bandwidth_gbs = 5.56
op_overhead_us = 6.0
invoke_overhead_us = 15.0
init_ms = 4.0
init_ms_per_mb = 6.0
memory_mb = 38.0
noise_percent = 1.5
trial_noise_percent = 1.0
"""


def suite(devices: int, recipes: tuple[str, ...] = RECIPES) -> str:
    """So many devices, of a hundred speeds, with the digits in each recipe."""
    names = [f"simulated-{number:05d}" for number in range(devices)]
    profiles = [
        _PROFILE.format(name=name, rate=round(2.2 * (1 + number % 100 / 100), 4))
        for number, name in enumerate(names)
    ]
    return f"""
name = "scale"
recipes = {json.dumps(recipes)}
devices = {json.dumps(names)}
[model.digits]
file = "builtin:digits_cnn"
dataset = "digits"
preprocessing = {{ scale = 0.0625 }}
[dataset.digits]
source = "digits"
{POLICY}{"".join(profiles)}"""


def measured(work: str, jobs: int) -> dict[str, Any]:
    """One run of so many jobs in a process of its own, on two processors, in a new store."""
    path, store = Path(work) / f"{jobs}.toml", Path(work) / f"{jobs}.db"
    recipes = RECIPES if jobs % len(RECIPES) == 0 else RECIPES[:5]
    path.write_text(suite(jobs // len(recipes), recipes))
    for old in Path(work).glob(f"{jobs}.db*"):
        old.unlink()
    two = sorted(os.sched_getaffinity(0))[:2]
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path), f"sqlite:///{store}"],
        capture_output=True, text=True, check=True, cwd=work,
        preexec_fn=lambda: os.sched_setaffinity(0, two),
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["counts"] == {"ok": jobs}, found
    return found


def run(rounds: int) -> Iterator[Line]:
    """1,000 simulated devices x 6 variants, 5 trials each; cost per job from 100 to 10,000 jobs."""
    del rounds
    with tempfile.TemporaryDirectory() as work:
        measured(work, 6)  # makes the variants
        base = statistics.median(measured(work, 6)["cpu"] for _ in range(3))
        whole = measured(work, 6000)
        yield Line("6,000 jobs, wall time", (whole["seconds"],), 0, 90, " s")
        yield Line("6,000 jobs, peak memory", (whole["peak_mb"],), 0, 600, " MB")
        overhead = 1000 * (whole["seconds"] - whole["inside"]) / 6000
        yield Line("of a job: scheduler, metrics and store", (overhead,), 0, 15, " ms")
        yield Line("of a job: its six agents", (1000 * whole["inside"] / 6000,), 0, 15, " ms")
        # Processor time: a short run's wall time says more of others on the machine than of it.
        few = [(measured(work, 100)["cpu"] - base) / 94 for _ in range(3)]
        many = (measured(work, 10_000)["cpu"] - base) / 9994
        yield Line("time per job, 10,000 jobs over 100", (many / statistics.median(few),), 0, 1.2)
