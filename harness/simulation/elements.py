"""What a ``.tflite`` file holds, as plain values: tensors, operators, subgraphs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

#: TensorType of the schema -> name, bits per element. Types without a fixed width have 0.
TYPES = {
    0: ("float32", 32),
    1: ("float16", 16),
    2: ("int32", 32),
    3: ("uint8", 8),
    4: ("int64", 64),
    5: ("string", 0),
    6: ("bool", 8),
    7: ("int16", 16),
    8: ("complex64", 64),
    9: ("int8", 8),
    10: ("float64", 64),
    11: ("complex128", 128),
    12: ("uint64", 64),
    13: ("resource", 0),
    14: ("variant", 0),
    15: ("uint32", 32),
    16: ("uint16", 16),
    17: ("int4", 4),
    18: ("bfloat16", 16),
    19: ("int2", 2),
    20: ("uint4", 4),
    21: ("float8_e4m3fn", 8),
    22: ("float8_e5m2", 8),
}

#: Integer types whose values stand for real numbers by a scale, or count things.
_INTEGERS = {"int8", "uint8", "int32", "int64", "bool"}


@dataclass(frozen=True, slots=True)
class Quantization:
    """``real = scale * (stored - zero_point)``: one pair, or one per slice along ``axis``.

    ``block_size`` is not 0 where each block of that many elements has its own scale.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int
    block_size: int = 0

    @property
    def per_axis(self) -> bool:
        """Whether there is more than one scale."""
        return len(self.scales) > 1


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a subgraph.

    ``shape_signature`` has -1 where a size may change, and is empty where none may.
    ``bytes`` is what it takes in memory; ``constant_bytes`` what of it stands in the file
    (0 for an activation). ``values`` are those of small integer constants: shapes, axes.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    shape_signature: tuple[int, ...]
    dtype: str
    bytes: int
    constant_bytes: int
    buffer: int
    quantization: Quantization | None = None
    variable: bool = False
    values: tuple[int, ...] | None = None

    @property
    def elements(self) -> int:
        """How many values it has."""
        return prod(max(1, extent) for extent in self.shape)

    @property
    def constant(self) -> bool:
        """Whether its values stand in the file."""
        return self.constant_bytes > 0

    @property
    def floating(self) -> bool:
        """Whether it holds floating-point numbers."""
        return self.dtype.startswith(("float", "bfloat", "complex"))


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: schema name, activation type, cost.

    ``activation`` and ``weight`` are NumPy-like type names (``weight`` empty without one);
    ``macs`` multiply-accumulates; ``weight_bytes`` and ``activation_bytes`` what it reads
    and writes. ``inputs`` and ``outputs`` are indices of tensors, -1 for one that is left
    out. ``name`` is the custom code where ``custom`` is set.
    """

    name: str
    activation: str
    weight: str
    macs: int
    weight_bytes: int
    activation_bytes: int
    index: int = 0
    version: int = 1
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    custom: bool = False
    custom_options_bytes: int = 0

    @property
    def used(self) -> tuple[int, ...]:
        """The inputs that are there."""
        return tuple(index for index in self.inputs if index >= 0)

    @property
    def made(self) -> tuple[int, ...]:
        """The outputs that are there."""
        return tuple(index for index in self.outputs if index >= 0)


@dataclass(frozen=True, slots=True)
class Subgraph:
    """Tensors and the operators over them, in the order in which they run."""

    name: str
    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """A named entry point: names of its inputs and outputs -> indices of tensors."""

    key: str
    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Metadata:
    """A named blob that travels with the file."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Graph:
    """A whole file; its own operators and tensors are those of the main subgraph."""

    subgraphs: tuple[Subgraph, ...]
    signatures: tuple[Signature, ...]
    metadata: tuple[Metadata, ...]
    description: str
    schema_version: int
    weight_bytes: int
    peak_activation_bytes: int
    stateful: bool

    @property
    def main(self) -> Subgraph:
        """The subgraph that an inference runs."""
        return self.subgraphs[0]

    @property
    def operators(self) -> tuple[Operator, ...]:
        """The operators of the main subgraph."""
        return self.main.operators

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors of the main subgraph."""
        return self.main.tensors

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What an inference reads."""
        return tuple(self.tensors[index] for index in self.main.inputs)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What an inference gives."""
        return tuple(self.tensors[index] for index in self.main.outputs)

    @property
    def input_bytes(self) -> int:
        """Bytes of all inputs."""
        return sum(tensor.bytes for tensor in self.inputs)

    @property
    def output_bytes(self) -> int:
        """Bytes of all outputs."""
        return sum(tensor.bytes for tensor in self.outputs)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(operator.macs for operator in self.operators)

    @property
    def full_integer(self) -> bool:
        """Whether no operator touches a float (index maths in int32, int64, bool is none)."""
        return all(
            operator.activation in _INTEGERS
            and not any(part.tensors[i].floating for i in (*operator.used, *operator.made))
            for part in self.subgraphs
            for operator in part.operators
        )

    @property
    def integer16_activations(self) -> bool:
        """Whether any operator works on 16-bit integer activations."""
        return any(op.activation == "int16" for op in self.operators)

    @property
    def float_types(self) -> tuple[str, ...]:
        """The floating-point types that operators touch, sorted."""
        return tuple(
            sorted(
                {
                    part.tensors[index].dtype
                    for part in self.subgraphs
                    for operator in part.operators
                    for index in (*operator.used, *operator.made)
                    if part.tensors[index].floating
                }
            )
        )
