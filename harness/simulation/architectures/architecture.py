"""A published architecture: its name, and how its graph is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.simulation.architectures.builder import DTYPES, Builder
from harness.simulation.architectures.naming import side_text, sizes
from harness.simulation.elements import Graph

#: Adds the layers to a builder and gives the tensors that are the outputs.
Body = Callable[[Builder], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network by its published name; ``input_shape`` is (n, rows, columns, channels)."""

    name: str
    family: str
    input_shape: tuple[int, int, int, int]
    body: Body = field(repr=False, compare=False)

    def graph(self, dtype: str, input_shape: Sequence[int] | None = None) -> Graph:
        """The graph as the converter would write it, without weights.

        ``dtype`` is one of ``float32``, ``float16`` (weights), ``int8``, ``uint8`` (the older
        scheme, one scale per tensor), ``dynamic_int8`` (weights). Raises ``ValueError`` for
        another one, and for an input that the network cannot take.
        """
        if dtype not in DTYPES:
            raise ValueError(f"no graphs of dtype {dtype!r}: one of {', '.join(DTYPES)}")
        shape = tuple(input_shape or self.input_shape)
        if len(shape) != 4 or min(shape) < 1:
            raise ValueError(f"{self.name}: input {shape} is no (n, rows, columns, channels)")
        builder = Builder(dtype, shape)
        try:
            return builder.finish(self.body(builder))
        except ValueError as problem:
            raise ValueError(f"{self.name} does not take {shape}: {problem}") from None


def at_side(
    stem: str, family: str, body: Body, numbers: Sequence[str], side: int
) -> Architecture | None:
    """A network without widths: of the side in ``numbers``, or of ``side`` where none is.

    ``None`` where the numbers are no side.
    """
    found = sizes(numbers, side=side)
    if found is None or found[0] != 1:
        return None
    rows, columns = found[1]
    suffix = "" if rows == columns == side else f"_{side_text(rows, columns)}"
    return Architecture(f"{stem}{suffix}", family, (1, rows, columns, 3), body)
