"""Text that ``benchmark_model`` prints: numbers, delegates, operators in both forms, flags."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from fuzz.places import shared
from fuzz.target import Target
from harness.devices import messages
from harness.devices.benchmark_model import delegation, flags, operators, output, process
from harness.domain import Backend
from harness.errors import HarnessError

_ACCELERATORS = ("cpu", "nnapi", "gpu", "hexagon", "xnnpack")


def _run(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    lines = text.splitlines()
    readers: list[Callable[[], Any]] = [
        lambda: _statistics(lines),
        lambda: _operators(text),
        lambda: output.unconsumed(lines),
        lambda: output.errors(lines),
        lambda: flags.refuse_unknown(flags.known_flags(text), Backend("cpu"), "d"),
        lambda: process.judge(1, lines, "d", "gpu"),
        *(partial(delegation.delegated, lines, name, 10, "d") for name in _ACCELERATORS),
    ]
    for read in readers:
        with contextlib.suppress(HarnessError):
            json.dumps(read(), allow_nan=False)


def _statistics(lines: Sequence[str]) -> Any:
    found = output.parse(lines, "d")
    with contextlib.suppress(HarnessError):
        output.parse(lines, "d", output.Asked(1, 0.5, 50, 1.0))
    assert found.measured.min <= found.measured.mean * 1.0001 + 1
    return [
        found.warmup.as_json(),
        found.measured.as_json(),
        found.init_us,
        found.peak_memory_bytes,
    ]


def _operators(text: str) -> Any:
    found = operators.read_operators(text, "d")
    # What one part has read is no nonsense to the next.
    messages.profile(found, "d")
    return found


def _seeds() -> Sequence[bytes]:
    own = """INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds.
INFO: count=3 first=10 curr=12 min=10 max=12 avg=11 std=0 p5=10 median=11 p95=12

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=50 first=9 curr=12 min=9 max=40 avg=11.5 std=4 p5=9 median=11 p95=14

INFO: Inference timings in us: Init: 300, First inference: 10, Warmup (avg): 11, Inference (avg): 11.5
INFO: Overall peak memory footprint (MB) via periodic monitoring: 7.5
INFO: Explicitly applied GPU delegate, and the model graph will be partially executed by the delegate w/ 2 delegate kernels.
INFO: Replacing 8 out of 10 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 3 partitions.
WARN: Unconsumed cmdline flags: --a=1 --b
ERROR: something is wrong
"""
    return [
        own.encode(),
        *shared("truth/benchmark_model_output/*.txt", "truth/benchmark_model_output/*.csv"),
    ]


TARGET = Target(
    _run,
    _seeds,
    kind="text",
    max_bytes=1 << 14,
    tokens=(
        b"count=",
        b"(all same)",
        b"INFO: ",
        b"std=-9223372036854775808",
        b"Inference timings",
        b"Running benchmark",
        b"\t",
        b", ",
        b"%",
        b"Delegate/",
        b":0",
        b"=== Run Order ===",
    ),
)
