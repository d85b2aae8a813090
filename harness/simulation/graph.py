"""Reading a ``.tflite`` graph: operators, types, multiply-accumulates and bytes."""

from __future__ import annotations

import struct
from pathlib import Path

from harness.errors import ModelError
from harness.simulation.elements import (
    Graph,
    Metadata,
    Operator,
    Quantization,
    Signature,
    Subgraph,
    Tensor,
)
from harness.simulation.flatbuffer import FileReader

__all__ = [
    "Graph",
    "Metadata",
    "Operator",
    "Quantization",
    "Signature",
    "Subgraph",
    "Tensor",
    "read_graph",
]


#: Offsets in a flatbuffer have 31 bits; weights beyond it stand elsewhere.
_MOST_BYTES = 2**31


def read_graph(path: Path) -> Graph:
    """What a ``.tflite`` file holds; raises ``ModelError`` for a damaged one."""
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ModelError(
                f"{path.name} has {path.stat().st_size:,} bytes: a .tflite file has 2 GiB at most"
            )
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from None
    try:
        return FileReader(data).read()
    except ModelError:
        raise
    # What the generated accessors raise over offsets and types that lie.
    except (struct.error, LookupError, ValueError, TypeError, AttributeError, ArithmeticError):
        raise ModelError(
            f"damaged or truncated: its {len(data):,} bytes do not hold a whole model",
            hint="copy or convert the model again",
        ) from None
