"""Graphs made by hand, for what no file at hand shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.simulation.elements import Graph, Operator, Quantization, Subgraph, Tensor


def tensor(
    index: int,
    shape: Sequence[int] = (1, 8),
    dtype: str = "int8",
    *,
    constant: bool = False,
    values: tuple[int, ...] | None = None,
    scales: int = 1,
    signature: Sequence[int] = (),
    variable: bool = False,
) -> Tensor:
    """A tensor; ``values`` makes it a constant."""
    size = 1
    for extent in shape:
        size *= max(1, extent)
    size *= {"int8": 1, "uint8": 1, "int16": 2, "int64": 8}.get(dtype, 4)
    still = constant or values is not None
    return Tensor(
        index, f"t{index}", tuple(shape), tuple(signature), dtype, size, size * still, index + 1,
        Quantization((0.5,) * scales, (0,) * scales, 0) if "int" in dtype else None,
        variable, values,
    )  # fmt: skip


def graph(
    tensors: Sequence[Tensor],
    operators: Sequence[tuple[Any, ...]],
    inputs: Sequence[int] = (0,),
    outputs: Sequence[int] = (),
) -> Graph:
    """``operators`` are (name, inputs, outputs), and where needed options and version."""
    made = tuple(
        Operator(
            name, tensors[out[0]].dtype, "", 0, 0, 0, index=index, inputs=tuple(into),
            outputs=tuple(out), options=rest[0] if rest else {},
            version=rest[1] if len(rest) > 1 else 1,
        )
        for index, (name, into, out, *rest) in enumerate(operators)
    )  # fmt: skip
    last = outputs or made[-1].outputs
    part = Subgraph("main", tuple(tensors), made, tuple(inputs), tuple(last))
    return Graph((part,), (), (), "by hand", 3, 0, 0, False)
