"""Which class of work an operator is, and how much of it, in arrays over a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from harness.simulation.costs import still_tensors
from harness.simulation.elements import Graph, Operator, Subgraph, Tensor

Numbers = NDArray[np.float64]


class OperatorClass(StrEnum):
    """Operators that a kernel treats alike; each class has its own efficiency."""

    CONVOLUTION = "convolution"
    POINTWISE = "pointwise"
    DEPTHWISE = "depthwise"
    DENSE = "dense"
    ELEMENTWISE = "elementwise"
    POOLING = "pooling"
    RESIZE = "resize"
    MOVEMENT = "movement"
    ACTIVATION = "activation"
    SEARCH = "search"
    POSTPROCESSING = "postprocessing"
    FREE = "free"


CLASSES = tuple(OperatorClass)

#: Classes whose work is multiply-accumulates.
ARITHMETIC = (
    OperatorClass.CONVOLUTION,
    OperatorClass.POINTWISE,
    OperatorClass.DEPTHWISE,
    OperatorClass.DENSE,
)

_DENSE = {"FULLY_CONNECTED", "BATCH_MATMUL", "UNIDIRECTIONAL_SEQUENCE_LSTM", "RNN", "SVDF",
          "BIDIRECTIONAL_SEQUENCE_LSTM", "LSTM", "EMBEDDING_LOOKUP"}  # fmt: skip
_POOLING = {"AVERAGE_POOL_2D", "MAX_POOL_2D", "L2_POOL_2D", "MEAN", "SUM", "REDUCE_MAX",
            "REDUCE_MIN", "REDUCE_PROD", "L2_NORMALIZATION",
            "LOCAL_RESPONSE_NORMALIZATION"}  # fmt: skip
_RESIZE = {"RESIZE_BILINEAR"}
#: They look at values one by one, in no kernel by SIMD.
_SEARCH = {"ARG_MAX", "ARG_MIN", "TOPK_V2"}
_MOVEMENT = {"CONCATENATION", "PAD", "PADV2", "MIRROR_PAD", "SLICE", "STRIDED_SLICE", "SPLIT",
             "SPLIT_V", "TRANSPOSE", "PACK", "UNPACK", "GATHER", "GATHER_ND", "TILE",
             "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND",
             "RESIZE_NEAREST_NEIGHBOR", "BROADCAST_TO", "REVERSE_V2", "CAST", "SELECT",
             "SELECT_V2"}  # fmt: skip
_ACTIVATION = {"SOFTMAX", "LOG_SOFTMAX", "LOGISTIC", "TANH", "ELU", "GELU", "EXP", "SQRT",
               "RSQRT", "POW", "SIN", "COS", "LOG"}  # fmt: skip
#: They change a shape, or unpack a constant once when the model is loaded.
_FREE = {"RESHAPE", "SQUEEZE", "EXPAND_DIMS", "SHAPE", "DENSIFY"}


def class_of(operator: Operator, subgraph: Subgraph, still: set[int]) -> OperatorClass:
    """The class of one operator; ``still`` are unpacked constants (``still_tensors``)."""
    name = operator.name
    if operator.made and all(index in still for index in operator.made):
        return OperatorClass.FREE
    if name in ("CONV_2D", "TRANSPOSE_CONV", "CONV_3D"):
        weight = operator.inputs[1] if len(operator.inputs) > 1 else -1
        shape = subgraph.tensors[weight].shape if weight >= 0 else ()
        pointwise = name == "CONV_2D" and len(shape) == 4 and shape[1:3] == (1, 1)
        return OperatorClass.POINTWISE if pointwise else OperatorClass.CONVOLUTION
    if name == "DEPTHWISE_CONV_2D":
        return OperatorClass.DEPTHWISE
    if name in _DENSE:
        return OperatorClass.DENSE
    if operator.custom and ("PostProcess" in name or "NonMaxSuppression" in name):
        return OperatorClass.POSTPROCESSING
    for names, found in (
        (_POOLING, OperatorClass.POOLING),
        (_RESIZE, OperatorClass.RESIZE),
        (_SEARCH, OperatorClass.SEARCH),
        (_MOVEMENT, OperatorClass.MOVEMENT),
        (_ACTIVATION, OperatorClass.ACTIVATION),
        (_FREE, OperatorClass.FREE),
    ):
        if name in names:
            return found
    return OperatorClass.ELEMENTWISE


@dataclass(frozen=True, slots=True)
class Work:
    """What a graph's operators do, one entry per operator of the main subgraph.

    ``classes`` are positions in ``CLASSES``; ``macs`` multiply-accumulates; ``read`` and
    ``written`` elements of activations; ``moved`` bytes of activations; ``weights`` bytes;
    ``wide`` whether the activations are floats, ``narrow_weights`` whether weights are 8 bits
    or fewer; ``outputs``, ``depth`` and ``positions`` are output channels, length of the
    sum behind one output, and output positions of an arithmetic operator (1 elsewhere).
    ``comparisons`` are pairs of boxes that a detection's post-processing holds against each
    other: every box with each that is kept.
    """

    classes: NDArray[np.int64]
    macs: Numbers
    read: Numbers
    written: Numbers
    moved: Numbers
    weights: Numbers
    wide: NDArray[np.bool_]
    narrow_weights: NDArray[np.bool_]
    sixteen: NDArray[np.bool_]
    outputs: Numbers
    depth: Numbers
    positions: Numbers
    comparisons: Numbers

    #: Parts that were asked for before, by their mask: a fit asks thousands of times.
    parts: dict[bytes, Work] = field(default_factory=dict, repr=False, compare=False)

    def chosen(self, mask: NDArray[np.bool_]) -> Work:
        """The work of some operators."""
        key = mask.tobytes()
        if key not in self.parts:
            names = [name for name in self.__dataclass_fields__ if name != "parts"]
            self.parts[key] = Work(**{name: getattr(self, name)[mask] for name in names})
        return self.parts[key]


def work_of(graph: Graph) -> Work:
    """The work of a graph's main subgraph."""
    part = graph.main
    still = still_tensors(part.tensors, part.operators)
    rows: list[tuple[float, ...]] = []
    kinds: list[int] = []
    flags: list[tuple[bool, bool, bool]] = []
    for operator in part.operators:
        kinds.append(CLASSES.index(class_of(operator, part, still)))
        moving = [
            part.tensors[i]
            for i in operator.used
            if not part.tensors[i].constant and i not in still
        ]
        made = [part.tensors[index] for index in operator.made]
        channels = made[0].shape[-1] if made and made[0].shape else 1
        macs = float(operator.macs)
        out = float(made[0].elements) if made else 1.0
        rows.append((
            macs,
            float(sum(tensor.elements for tensor in moving)),
            float(sum(tensor.elements for tensor in made)),
            float(sum(tensor.bytes for tensor in (*moving, *made))),
            float(operator.weight_bytes),
            float(channels) if macs else 1.0,
            macs / max(1.0, out) if macs else 1.0,
            max(1.0, out / max(1, channels)) if macs else 1.0,
            _comparisons(kinds[-1], [tensor.shape for tensor in moving], made),
        ))  # fmt: skip
        types = {tensor.dtype for tensor in (*moving, *made)}
        wide = operator.activation.startswith(("float", "bfloat")) or (
            operator.name == "QUANTIZE" and "float32" in types
        )
        flags.append(
            (wide, operator.weight in ("int8", "uint8", "int4", "int2"),
             operator.activation == "int16")
        )  # fmt: skip
    table = np.array(rows, dtype=float).reshape(len(rows), 9)
    marks = np.array(flags, dtype=bool).reshape(len(rows), 3)
    return Work(
        classes=np.array(kinds, dtype=np.int64),
        macs=table[:, 0],
        read=table[:, 1],
        written=table[:, 2],
        moved=table[:, 3],
        weights=table[:, 4],
        wide=marks[:, 0],
        narrow_weights=marks[:, 1],
        sixteen=marks[:, 2],
        outputs=table[:, 5],
        depth=table[:, 6],
        positions=table[:, 7],
        comparisons=table[:, 8],
    )


def _comparisons(kind: int, shapes: Sequence[tuple[int, ...]], made: Sequence[Tensor]) -> float:
    if CLASSES[kind] != OperatorClass.POSTPROCESSING or len(shapes) < 2 or not made:
        return 0.0
    boxes = shapes[1][1] if len(shapes[1]) > 2 else shapes[1][0] if shapes[1] else 0
    kept = made[0].shape[1] if len(made[0].shape) > 1 else 10
    return float(boxes * kept)
