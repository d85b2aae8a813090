"""What a graph computes in: its parameters, its islands of float, scales of its weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from harness.simulation.costs import WEIGHTS
from harness.simulation.elements import Graph, Operator, Subgraph, Tensor

#: Which inputs are learned integers of more than 8 bits: biases of quantized layers.
_BIASES: dict[str, tuple[int, ...]] = {
    "CONV_2D": (2,),
    "DEPTHWISE_CONV_2D": (2,),
    "FULLY_CONNECTED": (2,),
    "CONV_3D": (2,),
    "TRANSPOSE_CONV": (3,),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (12, 13, 14, 15, 17),
}

#: Integer types of shapes, axes, indices and switches, unless they are a bias.
_COUNTING = {"int32", "int64", "uint32", "uint64", "bool", "string", "resource", "variant"}

#: Weights of these carry one scale per output channel where a converter quantizes to int8.
_PER_AXIS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV", "CONV_3D")


@dataclass(frozen=True, slots=True)
class FloatIsland:
    """Operators that touch floats and are connected; ``reason`` says why they do."""

    operators: tuple[int, ...]
    names: tuple[str, ...]
    reason: str


def parameters(graph: Graph) -> int:
    """The number of learned values: weights and biases, each counted once.

    Shapes, axes, paddings and the constants of quantization are none.
    """
    counted: dict[int, int] = {}
    for part in graph.subgraphs:
        for operator in part.operators:
            biases = _BIASES.get(operator.name, ())
            for slot, index in enumerate(operator.inputs):
                tensor = part.tensors[index]
                if index >= 0 and tensor.constant:
                    learned = tensor.dtype not in _COUNTING or slot in biases
                    if learned and not operator.custom:
                        counted[tensor.buffer] = tensor.elements
    return sum(counted.values())


def float_islands(graph: Graph) -> tuple[FloatIsland, ...]:
    """Maximal connected groups of operators of the main subgraph that touch floats."""
    part = graph.main
    floats = [operator for operator in part.operators if _floats(part, operator)]
    group = {operator.index: operator.index for operator in floats}

    def root(index: int) -> int:
        while group[index] != index:
            group[index] = group[group[index]]
            index = group[index]
        return index

    first: dict[int, int] = {}
    for operator in floats:
        for tensor in _float_activations(part, operator):
            other = first.setdefault(tensor.index, operator.index)
            group[root(operator.index)] = root(other)
    islands: dict[int, list[Operator]] = {}
    for operator in floats:
        islands.setdefault(root(operator.index), []).append(operator)
    found = [
        FloatIsland(
            tuple(operator.index for operator in members),
            tuple(dict.fromkeys(operator.name for operator in members)),
            _reason(part, members),
        )
        for members in islands.values()
    ]
    return tuple(sorted(found, key=lambda island: island.operators))


def per_tensor_weights(graph: Graph) -> tuple[Operator, ...]:
    """Operators whose int8 (or narrower) weights have one scale for several channels.

    uint8 weights are of the older scheme, which knows one scale per tensor only.
    """
    part = graph.main
    return tuple(
        operator
        for operator in part.operators
        if operator.name in _PER_AXIS
        for weight in _weights(part, operator)
        if weight.dtype in ("int8", "int4", "int2")
        and _channels(operator, weight) > 1
        and weight.quantization is not None
        and not weight.quantization.per_axis
        and not weight.quantization.block_size
    )


def _weights(part: Subgraph, operator: Operator) -> Iterable[Tensor]:
    slot = WEIGHTS[operator.name]
    if slot < len(operator.inputs) and operator.inputs[slot] >= 0:
        yield part.tensors[operator.inputs[slot]]


def _channels(operator: Operator, weight: Tensor) -> int:
    if not weight.shape:
        return 0
    last = operator.name in ("DEPTHWISE_CONV_2D", "CONV_3D")
    return weight.shape[-1 if last else 0]


def _floats(part: Subgraph, operator: Operator) -> bool:
    return any(part.tensors[index].floating for index in (*operator.used, *operator.made))


def _float_activations(part: Subgraph, operator: Operator) -> list[Tensor]:
    touched = (part.tensors[index] for index in (*operator.used, *operator.made))
    return [tensor for tensor in touched if tensor.floating and not tensor.constant]


def _reason(part: Subgraph, members: list[Operator]) -> str:
    names = [operator.name for operator in members]
    inner = Counter(name for name in names if name not in ("QUANTIZE", "DEQUANTIZE"))
    listed = ", ".join(f"{name} x{count}" if count > 1 else name for name, count in inner.items())
    if not inner:
        enters = any(index in part.inputs for operator in members for index in operator.used)
        leaves = any(index in part.outputs for operator in members for index in operator.made)
        if enters:
            return "the graph's input is a float, which QUANTIZE turns into integers"
        if leaves:
            return "the graph's output is a float, which DEQUANTIZE makes of integers"
        return "integers are turned into floats and back"
    if "DEQUANTIZE" in names and "QUANTIZE" in names:
        return f"between DEQUANTIZE and QUANTIZE: {listed} in float"
    weights = {
        part.tensors[index].dtype
        for operator in members
        for index in operator.used
        if part.tensors[index].constant and part.tensors[index].dtype not in _COUNTING
    }
    if weights & {"int8", "int4", "int2"}:
        return f"activations were not quantized, weights were: {listed}"
    if weights:
        return f"neither weights ({', '.join(sorted(weights))}) nor activations quantized: {listed}"
    return f"in float: {listed}"
