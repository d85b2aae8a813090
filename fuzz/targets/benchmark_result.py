"""The protocol buffer that ``benchmark_model`` writes."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence

from fuzz.places import shared
from fuzz.target import Target
from harness.devices.benchmark_model import output, result

_PHASE = output.Statistics(3, 10, 10, 12, 11.0, 0, 10, 11, 12)


def _run(data: bytes) -> None:
    found = result.read_result(data, "d")
    assert all(math.isfinite(value) for value in found.values())
    result.agree(found, output.Output(_PHASE, _PHASE, 300, 10, None), "d")


def _seeds() -> Sequence[bytes]:
    times = b"".join(bytes([field << 3 | 5]) + struct.pack("<f", field) for field in range(1, 11))
    own = b"\x12" + bytes([len(times)]) + times + b"\x22\x04\x10\x32\x18\x01"
    return [own, *shared("truth/benchmark_model_output/*.pb")]


TARGET = Target(_run, _seeds, tokens=(b"\xff" * 9, b"\xff" * 10, b"\x80", b"\x00\x00\x80\x7f"))
