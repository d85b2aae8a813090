"""Host memory while sweeping, and what the caches give."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common import Line, shared

RECIPES = ("float32", "float16", "dynamic_int8", "int8")

#: The orchestrator's own peak, read by itself at its end.
RUN = """
import json, sys, time, harness
begin = time.perf_counter()
harness.run(sys.argv[1], store=sys.argv[2])
peak = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM"))
print(json.dumps([peak / 1000, time.perf_counter() - begin, "tensorflow" in sys.modules]))
"""


def run(rounds: int) -> Iterator[Line]:
    """Peak memory of the orchestrator: four variants over 5,000 images, variants cached."""
    del rounds
    folder = shared()
    with tempfile.TemporaryDirectory() as work:
        suite = Path(work) / "suite.toml"
        suite.write_text(
            f"""
name = "memory"
recipes = {json.dumps(RECIPES)}
devices = ["local"]
[model.resnet8]
file = "{folder}/models/mlperf_tiny/ic_resnet8.h5"
dataset = "cifar10"
[dataset.cifar10]
source = "npz"
path = "{folder}/data/cifar10_jpeg_test.npz"
calibration = "{folder}/data/cifar10_jpeg_train.npz"
[policy]
measure = ["accuracy"]
"""
        )
        found = []
        for _ in range(2):  # the first time makes the variants
            begin = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", RUN, str(suite), f"sqlite:///{work}/s.db"],
                capture_output=True, text=True, check=True, cwd=work,
            )  # fmt: skip
            found.append((*json.loads(done.stdout), time.perf_counter() - begin))
    peak, _, tensorflow, _ = found[1]
    assert not tensorflow
    yield Line("orchestrator's peak while sweeping", (peak,), 0, 400, " MB")
    yield Line("whole run, variants cached", (found[1][3],), 0, 60, " s")
