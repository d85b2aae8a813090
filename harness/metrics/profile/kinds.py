"""Which operator of a file a delegate's operator can have been made of.

Names of XNNPACK's operators: ``operator-type-defs`` (``xnn_operator_type_to_string``) with the kind
of kernel behind them (GEMM, IGEMM, DWConv); what it makes of which operator of the file:
``xnnpack_delegate.cc``. A convolution of 1 x 1 becomes a ``Fully Connected``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.simulation.elements import Operator, Tensor

#: A convolution of 1 x 1 with steps of 1.
POINTWISE = "CONV_2D 1x1"

_CONVOLUTIONS = {"CONV_2D", POINTWISE, "DEPTHWISE_CONV_2D"}

#: XNNPACK's name without what stands in brackets -> types of the file.
_MADE_OF: dict[str, frozenset[str]] = {
    name: frozenset(types.split())
    for name, types in {
        "add": "ADD ADD_N", "subtract": "SUB", "multiply": "MUL", "divide": "DIV",
        "maximum": "MAXIMUM RELU", "minimum": "MINIMUM",
        "squared difference": "SQUARED_DIFFERENCE",
        "average pooling": "AVERAGE_POOL_2D MEAN", "max pooling": "MAX_POOL_2D",
        "global average pooling": "MEAN AVERAGE_POOL_2D", "mean": "MEAN", "reduce": "MEAN SUM",
        "sum": "SUM", "global sum pooling": "SUM",
        "softmax": "SOFTMAX", "sigmoid": "LOGISTIC", "tanh": "TANH", "hardswish": "HARD_SWISH",
        "leaky relu": "LEAKY_RELU", "prelu": "PRELU", "elu": "ELU", "gelu": "GELU",
        "clamp": "RELU RELU6 RELU_N1_TO_1 RELU_0_TO_1 MINIMUM MAXIMUM",
        "abs": "ABS", "ceiling": "CEIL", "floor": "FLOOR", "negate": "NEG", "square": "SQUARE",
        "square root": "SQRT", "reciprocal square root": "RSQRT", "exp": "EXP", "log": "LOG",
        "bankers rounding": "ROUND",
        "resize bilinear": "RESIZE_BILINEAR", "constant pad": "PAD PADV2",
        "transpose": "TRANSPOSE", "depth to space": "DEPTH_TO_SPACE",
        "space to depth": "SPACE_TO_DEPTH", "slice": "SLICE STRIDED_SLICE SPLIT",
        "static reshape": "RESHAPE SQUEEZE EXPAND_DIMS", "copy": "CONCATENATION SPLIT RESHAPE",
        "concatenate": "CONCATENATION", "even split": "SPLIT",
        "convert": "QUANTIZE DEQUANTIZE CAST",
        "deconvolution": "TRANSPOSE_CONV", "batch matrix multiply": "BATCH_MATMUL",
        "dynamic fully connected": "FULLY_CONNECTED BATCH_MATMUL",
    }.items()
}  # fmt: skip

_DEPTHWISE = re.compile(r"\b(dwconv|vmulcaddc)\s*$", re.IGNORECASE)

#: An entry that stands for all that a delegate runs in one piece.
_WHOLE = re.compile(r"TfLite\w*Delegate\w*|LITERT_\w+|DELEGATE")

#: What a pair weighs: that it is one counts for more than how well it fits.
_PAIR, _FITS, _FITS_WELL = 100, 1, 3


def is_whole(name: str) -> bool:
    """Whether a profiler's name stands for a whole partition of a delegate."""
    return bool(_WHOLE.fullmatch(name.strip()))


def plain(name: str) -> str:
    """A delegate's name without layout, types and kernel: ``Convolution (NHWC, F32) IGEMM``."""
    return name.split(" (", 1)[0]


def class_of(operator: Operator, tensors: Sequence[Tensor]) -> str:
    """The type of an operator of the file, convolutions of 1 x 1 apart."""
    if operator.name == "CONV_2D" and len(operator.inputs) > 1 and operator.inputs[1] >= 0:
        kernel = tensors[operator.inputs[1]].shape
        steps = [operator.options.get(key, 1) for key in ("stride_h", "stride_w")]
        if tuple(kernel[1:3]) == (1, 1) and steps == [1, 1]:
            return POINTWISE
    return operator.name


def weight(name: str, type_: str) -> int:
    """How well a profiler's name and a class of the file go together; 0: not at all."""
    base = plain(name).lower()
    if base == "convolution" and type_ in _CONVOLUTIONS:
        well = (type_ == "DEPTHWISE_CONV_2D") == bool(_DEPTHWISE.search(name))
    elif base == "fully connected" and type_ in ("FULLY_CONNECTED", POINTWISE, "BATCH_MATMUL"):
        well = type_ != "BATCH_MATMUL"
    elif type_ in _MADE_OF.get(base, ()):
        well = len(_MADE_OF[base]) == 1
    elif _letters(name) == _letters(type_) or _letters(base) == _letters(type_):
        well = True
    else:
        return 0
    return _PAIR + (_FITS_WELL if well else _FITS)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.split(" 1x1")[0].lower())
