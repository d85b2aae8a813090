"""What an operator costs, by the arithmetic of its layer; and what is alive when."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import Any

from harness.simulation.elements import Operator, Subgraph, Tensor

#: Which input holds the weights that decide the operator's arithmetic.
WEIGHTS = {
    "CONV_2D": 1,
    "DEPTHWISE_CONV_2D": 1,
    "FULLY_CONNECTED": 1,
    "TRANSPOSE_CONV": 1,
    "CONV_3D": 1,
    "UNIDIRECTIONAL_SEQUENCE_LSTM": 1,
    "BATCH_MATMUL": 1,
}

#: Operators that unpack a constant into another type or form before it is used.
_UNPACKING = {"DEQUANTIZE", "DENSIFY"}


def unpacked(tensors: Sequence[Tensor], name: str, inputs: Sequence[int]) -> bool:
    """Whether an operator only unpacks constants, so that its outputs are weights."""
    return name in _UNPACKING and all(tensors[i].constant for i in inputs if i >= 0)


def weight_of(
    name: str, tensors: Sequence[Tensor], inputs: Sequence[int], still: Collection[int]
) -> Tensor | None:
    """The tensor of weights; ``still`` are unpacked constants."""
    slot = WEIGHTS.get(name)
    if slot is not None and slot < len(inputs) and inputs[slot] >= 0:
        found = tensors[inputs[slot]]
        return found if found.constant or found.index in still else None
    return next((tensors[i] for i in inputs if i >= 0 and tensors[i].constant), None)


def macs(
    name: str,
    tensors: Sequence[Tensor],
    inputs: Sequence[int],
    outputs: Sequence[int],
    options: Mapping[str, Any],
) -> int:
    """Multiply-accumulates of one run of an operator; 0 for what only moves or compares."""

    def at(slot: int) -> tuple[int, ...]:
        return tensors[inputs[slot]].shape if slot < len(inputs) and inputs[slot] >= 0 else ()

    weight = at(WEIGHTS.get(name, 1))
    out = tensors[outputs[0]].elements if outputs and outputs[0] >= 0 else 0
    if name not in WEIGHTS or len(weight) < 2 or not out:
        return 0
    if name == "DEPTHWISE_CONV_2D":
        return out * prod(weight[1:3])
    if name == "FULLY_CONNECTED":
        return out * weight[-1]
    if name == "TRANSPOSE_CONV":
        return prod(max(1, extent) for extent in at(2)) * prod(weight[:3])
    if name == "CONV_3D":
        return out * prod(weight[:4])
    if name == "BATCH_MATMUL":
        left = at(0)
        return out * (left[-2] if options.get("adj_x") else left[-1]) if len(left) >= 2 else 0
    if name == "UNIDIRECTIONAL_SEQUENCE_LSTM":
        # Four gates over the input (1..4) and the state (5..8), and a projection (16).
        gates = sum(prod(at(slot)) for slot in (*range(1, 9), 16) if len(at(slot)) == 2)
        return gates * prod(at(0)[:-1])
    return out * prod(weight[1:])


def peak_activation_bytes(subgraph: Subgraph) -> int:
    """The most bytes of activations that are alive at once, operator by operator.

    A tensor lives from the operator that makes it to the last one that reads it; inputs
    live from the start, outputs to the end, state all the time.
    """
    tensors, operators = subgraph.tensors, subgraph.operators
    end = len(operators)
    still = still_tensors(tensors, operators)
    born: dict[int, int] = {}
    dies: dict[int, int] = {}
    for index in subgraph.inputs:
        born[index], dies[index] = 0, 0
    for position, operator in enumerate(operators):
        for index in operator.used:
            born.setdefault(index, 0)
            dies[index] = position
        for index in operator.made:
            born.setdefault(index, position)
            dies[index] = max(position, dies.get(index, position))
    for tensor in tensors:
        if tensor.variable:
            born[tensor.index], dies[tensor.index] = 0, end
    for index in subgraph.outputs:
        born.setdefault(index, 0)
        dies[index] = end
    change = [0] * (end + 2)
    for index, first in born.items():
        if not tensors[index].constant and index not in still:
            change[first] += tensors[index].bytes
            change[dies[index] + 1] -= tensors[index].bytes
    peak = alive = 0
    for step in change:
        alive += step
        peak = max(peak, alive)
    return peak


def still_tensors(tensors: Sequence[Tensor], operators: Sequence[Operator]) -> set[int]:
    """Tensors that hold unpacked constants: the same in every inference."""
    return {
        index
        for operator in operators
        if unpacked(tensors, operator.name, operator.inputs)
        for index in operator.made
    }
