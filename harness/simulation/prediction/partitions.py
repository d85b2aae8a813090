"""Which operators an accelerator takes, and into how many pieces that cuts a graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.simulation.elements import Graph

#: Operators of TensorFlow Lite's GPU delegate (gpu/README of the delegate).
GPU = frozenset({
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXP",
    "FULLY_CONNECTED", "LOGISTIC", "MAX_POOL_2D", "MAXIMUM", "MEAN", "MINIMUM", "MUL", "PAD",
    "PRELU", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR", "SOFTMAX", "STRIDED_SLICE", "SUB", "TANH", "TRANSPOSE_CONV", "DIV",
    "HARD_SWISH", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "SLICE", "SPLIT", "SQUARED_DIFFERENCE",
    "SQRT", "RSQRT", "POW", "TRANSPOSE", "ELU", "LSTM",
})  # fmt: skip

#: Operators of Android's NNAPI 1.2 that TensorFlow Lite hands over.
NNAPI = frozenset({
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "DEQUANTIZE",
    "FULLY_CONNECTED", "L2_NORMALIZATION", "LOGISTIC", "MAX_POOL_2D", "MAXIMUM", "MEAN", "MINIMUM",
    "MUL", "PAD", "PRELU", "QUANTIZE", "RELU", "RELU6", "RELU_N1_TO_1", "RESHAPE",
    "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "SOFTMAX", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE",
    "SLICE", "SPLIT", "STRIDED_SLICE", "SUB", "TANH", "TRANSPOSE", "TRANSPOSE_CONV", "DIV",
    "SQUEEZE", "EXPAND_DIMS", "ELU", "HARD_SWISH",
})  # fmt: skip

SUPPORTED = {"gpu": GPU, "nnapi": NNAPI, "npu": NNAPI}

#: Types that they do not compute in: none takes 16-bit integers, the neural processors of phones
#: take integers alone (NNAPI's driver ``google-edgetpu``).
_UNKNOWN = {
    "gpu": {"int16"},
    "nnapi": {"int16"},
    "npu": {"int16", "float32", "float16"},
}


@dataclass(frozen=True, slots=True)
class Partition:
    """What an accelerator takes of a graph.

    ``delegated`` one entry per operator; ``pieces`` how many times it is called; ``bytes``
    what crosses between it and the processor in one inference, the graph's own inputs and
    outputs included; ``returned`` what of that it gives back.
    """

    delegated: NDArray[np.bool_]
    pieces: int
    bytes: int
    returned: int


def divide(graph: Graph, accelerator: str) -> Partition:
    """The partition that TensorFlow Lite makes for an accelerator (``graph_info.cc``)."""
    known, unknown = SUPPORTED[accelerator], _UNKNOWN[accelerator]
    return partition(
        graph,
        [
            op.name in known
            and not op.custom
            and all(graph.tensors[i].dtype not in unknown for i in (*op.used, *op.made))
            for op in graph.operators
        ],
    )


def partition(graph: Graph, supported: list[bool]) -> Partition:
    """The pieces and transfers where these operators go to an accelerator."""
    pieces = 0
    before = False
    for taken in supported:
        pieces += taken and not before
        before = taken
    makers = {i: op.index for op in graph.operators for i in op.made}
    crossing: set[int] = set()
    returned: set[int] = set()
    for operator in graph.operators:
        here = supported[operator.index]
        for index in operator.used:
            if graph.tensors[index].constant:
                continue
            maker = makers.get(index)
            there = supported[maker] if maker is not None else False
            if here != there:
                crossing.add(index)
            if there and not here:
                returned.add(index)
    returned.update(
        index for index in graph.main.outputs if index in makers and supported[makers[index]]
    )
    return Partition(
        np.array(supported, dtype=bool),
        pieces,
        sum(graph.tensors[i].bytes for i in crossing | returned),
        sum(graph.tensors[i].bytes for i in returned),
    )
