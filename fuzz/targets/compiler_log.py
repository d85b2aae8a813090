"""A log of ``edgetpu_compiler``."""

from __future__ import annotations

from collections.abc import Sequence

from fuzz.target import Target
from harness.recipes import edgetpu_log


def _run(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    edgetpu_log.failures(text)
    log = edgetpu_log.parse_log(text)
    assert log.version and log.rows and log.mapped <= sum(row.count for row in log.rows)


def _seeds() -> Sequence[bytes]:
    return [
        b"""Edge TPU Compiler version 16.0.384591198
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 350 ms.

Input model: m.tflite
Input size: 513.62KiB
Output model: m_edgetpu.tflite
Output size: 782.67KiB
On-chip memory used for caching model parameters: 582.00KiB
On-chip memory remaining for caching model parameters: 7.12MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 31
Operation log: m_edgetpu.log

Model successfully compiled but not all operations are supported by the Edge TPU.

Number of operations that will run on Edge TPU: 30
Number of operations that will run on CPU: 1

Operator                       Count      Status

DEPTHWISE_CONV_2D              13         Mapped to Edge TPU
CONV_2D                        17         Mapped to Edge TPU
CUSTOM                         1          Operation not supported
Compilation child process completed within timeout period.
Compilation succeeded!
""",
        b"Edge TPU Compiler version 2.0.267685300\nInvalid model: m.tflite\nModel not quantized\n",
    ]


TARGET = Target(
    _run,
    _seeds,
    kind="text",
    tokens=(
        b"KiB",
        b"MiB",
        b"B",
        b"GiB",
        b"Mapped to Edge TPU",
        b"Aborted",
        b"INFO: ",
        b"\x0b",
        b"\xc2\x85",
    ),
)
