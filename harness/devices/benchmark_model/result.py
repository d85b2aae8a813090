"""The file of ``--result_file_path``: a ``BenchmarkResult`` of protocol buffers.

Wire format: https://protobuf.dev/programming-guides/encoding/. Fields used, as
``benchmark_tflite_model.cc`` sets them: 2 latency metrics (1 to 10, floats in ms), 3 memory
metrics, 4 miscellaneous (2 number of runs, 3 of warm-up runs).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from harness.devices.benchmark_model.output import Output, refuse

#: A result has some 80 bytes.
MAX_BYTES = 64 * 1024

_LATENCY = ("mean", "min", "max", "std", "median", "p5", "p95", "init", "first", "warmup")
_LATENCY_FIELD, _MISC_FIELD = 2, 4
_RUNS, _WARMUP_RUNS = 2, 3

#: Times are stored in 32-bit floats; the text has six digits of a mean.
_DIGITS = 2e-5


def read_result(data: bytes, device: str) -> dict[str, float]:
    """Times in ms by name, ``runs`` and ``warmup_runs``; raises ``ProtocolError``."""
    found: dict[str, float] = {}
    try:
        for number, value in _fields(data):
            if number == _LATENCY_FIELD and isinstance(value, bytes):
                for inner, number_of_ms in _fields(value):
                    if 1 <= inner <= len(_LATENCY) and isinstance(number_of_ms, float):
                        found[_LATENCY[inner - 1]] = number_of_ms
            elif number == _MISC_FIELD and isinstance(value, bytes):
                for inner, count in _fields(value):
                    if inner in (_RUNS, _WARMUP_RUNS) and isinstance(count, int):
                        found["runs" if inner == _RUNS else "warmup_runs"] = count
    except (ValueError, struct.error):
        refuse(device, "a result file that is damaged", [data[:60].hex(" ")])
    if "runs" not in found or "mean" not in found:
        refuse(device, "a result file without a result", [data[:60].hex(" ")])
    if not all(math.isfinite(value) and value >= 0 for value in found.values()):
        refuse(device, "a result file with numbers that cannot be", [str(found)])
    return found


def agree(result: dict[str, float], output: Output, device: str) -> None:
    """Raise ``ProtocolError`` where the file and the text of one run differ."""
    measured = output.measured
    said: dict[str, float | None] = {
        "runs": measured.count,
        "warmup_runs": output.warmup.count,
        **{name: _ms(getattr(measured, name)) for name in _LATENCY[:7]},
        "init": _ms(output.init_us),
        "first": _ms(output.first_us),
        "warmup": _ms(output.warmup.mean),
    }
    for name, value in said.items():
        # proto3 leaves out what is 0.
        stored = result.get(name, 0.0)
        slack = 0 if name.endswith("runs") else _DIGITS * max(value or 0, 1e-3)
        if value is not None and abs(stored - value) > slack:
            refuse(
                device,
                f"{value:g} for {name} and wrote {stored:g} into its result file",
                [str({key: round(item, 6) for key, item in result.items()})],
            )


def _ms(us: float | None) -> float | None:
    return None if us is None else us / 1000


def _fields(data: bytes) -> Iterator[tuple[int, int | float | bytes]]:
    """Field numbers and values of one message; ``ValueError`` where it is damaged."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        value: int | float | bytes
        if kind == 0:
            value, at = _varint(data, at)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            value = struct.unpack("<d" if kind == 1 else "<f", data[at : at + size])[0]
            at += size
        elif kind == 2:
            size, at = _varint(data, at)
            if size > len(data) - at:
                raise ValueError("a field ends beyond the file")
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"wire type {kind}")
        yield number, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise ValueError("a number ends beyond the file")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
    raise ValueError("a number of more than 64 bits")
