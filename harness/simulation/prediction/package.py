"""How large what the Edge TPU compiler makes of mapped operators is: parameters, instructions.

A compiled file holds a package of google-coral/libedgetpu's ``executable.fbs``: one executable
that caches parameters, and one that is run for each inference, whose instructions the host sends
every time (``InstructionHint``: "Whole instruction chunk is always transferred").

The rules below were read off twelve convolutional networks of google-coral/test_data beside what
the compiler made of them (MobileNet V1, DeepLab, PoseNet, BodyPix, MoveNet): parameters within 7 %,
instructions mostly within a factor of 2. Softmax and recurrent networks, which are unrolled, have
more.
"""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from harness.simulation.elements import Graph, Operator

#: Weights are laid out for lanes along the depth of a sum, and for half of a tile's cells along
#: output channels; a depthwise convolution, whose sums have no depth, fills one lane of four.
LANES = 4
_CHANNELS = 32

#: Bytes beside the weights of each output channel: its bias and its scale.
_PER_CHANNEL = 8

#: Bytes of each constant of an element-wise operator: 16 bits for each of the 16 tiles. A package
#: with 62 unfolded batch normalizations (313 operators from a file of 8.00 MiB, so a DenseNet) has
#: 10.1 MiB of parameters by the compiler's own words.
_PER_CONSTANT = 32

#: Narrow memory of all tiles for activations (``beagle_chip_structures.h``: 16 of 192 KiB).
_NARROW_BYTES = 16 * 192 * 1024

_INSTRUCTIONS_PER_OPERATOR = 3 * 1024

#: Instructions for each byte of activations that does not fit: such operators run in parts.
_INSTRUCTIONS_PER_BYTE = 9 * 1024 / 2**20


def parameter_bytes(graph: Graph, mapped: NDArray[np.bool_]) -> float:
    """Bytes of parameters as the chip has them, of the operators that are mapped to it.

    Weights that several operators share count once.
    """
    tensors = graph.tensors
    sizes: dict[int, float] = {}
    for operator in graph.operators:
        if not mapped[operator.index]:
            continue
        for position, index in enumerate(operator.used):
            if tensors[index].constant:
                sizes[tensors[index].buffer] = _laid_out(graph, operator, position, index)
    return float(sum(sizes.values()))


def _laid_out(graph: Graph, operator: Operator, position: int, index: int) -> float:
    tensor = graph.tensors[index]
    shape = tensor.shape
    if operator.name in ("ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM"):
        return float(_PER_CONSTANT * tensor.elements)
    if position != 1:  # biases stand with their channel
        return 0.0 if operator.macs else float(tensor.constant_bytes)
    if operator.name == "DEPTHWISE_CONV_2D" and len(shape) == 4:
        channels = _up(shape[3], 2 * _CHANNELS)
        return float(channels * (shape[1] * shape[2] * LANES + _PER_CHANNEL))
    if operator.name in ("CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED") and len(shape) in (2, 4):
        channels = _up(shape[0], _CHANNELS)
        area = shape[1] * shape[2] if len(shape) == 4 else 1
        return float(channels * (area * _up(shape[-1], LANES) + _PER_CHANNEL))
    return float(tensor.constant_bytes)


def instruction_bytes(graph: Graph, mapped: NDArray[np.bool_]) -> float:
    """Bytes of instructions that are sent for each inference."""
    tensors = graph.tensors
    total = 0.0
    for operator in graph.operators:
        if not mapped[operator.index]:
            continue
        moved = sum(
            tensors[index].bytes
            for index in (*operator.used, *operator.made)
            if not tensors[index].constant
        )
        total += _INSTRUCTIONS_PER_OPERATOR
        total += _INSTRUCTIONS_PER_BYTE * max(0, moved - _NARROW_BYTES)
    return total


def _up(value: int, step: int) -> int:
    return ceil(value / step) * step
