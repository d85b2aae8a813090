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


def read_graph(path: Path) -> Graph:
    """What a ``.tflite`` file holds; raises ``ModelError`` for a damaged one."""
    data = path.read_bytes()
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
