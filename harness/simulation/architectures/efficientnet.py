"""EfficientNet-Lite and EfficientNet-EdgeTPU.

Sources: arXiv 1905.11946 (scaling), and the README files and published parameters of both
families: repeats, window, stride, expansion and filters of each stage.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from harness.simulation.architectures.architecture import Architecture, Body, at_side
from harness.simulation.architectures.builder import Builder, rounded
from harness.simulation.architectures.efficientnet_b import STAGES
from harness.simulation.architectures.mobilenet import bottleneck
from harness.simulation.architectures.naming import Name

#: Width, depth, resolution.
LITE = {
    0: (1.0, 1.0, 224),
    1: (1.0, 1.1, 240),
    2: (1.1, 1.2, 260),
    3: (1.2, 1.4, 280),
    4: (1.4, 1.8, 300),
}

EDGETPU = {"s": (1.0, 1.0, 224), "m": (1.0, 1.1, 240), "l": (1.2, 1.4, 300)}

#: As ``efficientnet_b.STAGES``; whether expansion and window are one convolution; no residual.
_EDGETPU_STAGES = (
    (1, 3, 1, 4, 24, True, False),
    (2, 3, 2, 8, 32, True, True),
    (4, 3, 2, 8, 48, True, True),
    (5, 5, 2, 8, 96, False, True),
    (4, 5, 1, 8, 144, False, True),
    (2, 5, 2, 8, 192, False, True),
)


def lite_features(b: Builder, x: int, number: int) -> list[int]:
    """Outputs of the stages; stem and head do not scale, nor do first and last repeats."""
    width, depth, _ = LITE[number]
    x = b.conv(x, 32, 3, 2, "relu6")
    outputs = []
    for place, (repeats, kernel, first, expansion, filters) in enumerate(STAGES):
        if 0 < place < len(STAGES) - 1:
            repeats = ceil(repeats * depth)
        for repeat in range(repeats):
            stride = first if repeat == 0 else 1
            expanded = b.channels(x) * expansion
            x, _ = bottleneck(b, x, rounded(filters * width), expanded, stride, kernel)
        outputs.append(x)
    return outputs


def _end(b: Builder, x: int, classes: int) -> Sequence[int]:
    x = b.global_pool(x)
    x = b.reshape(x, (1, b.channels(x)))
    return [b.softmax(b.dense(x, classes))]


def _lite(number: int) -> Body:
    def body(b: Builder) -> Sequence[int]:
        x = lite_features(b, b.input, number)[-1]
        return _end(b, b.conv(x, 1280, act="relu6"), 1000)

    return body


def fused_bottleneck(
    b: Builder,
    x: int,
    filters: int,
    expanded: int,
    stride: int = 1,
    kernel: int = 3,
    act: str = "relu",
    residual: bool = True,
) -> int:
    """An inverted residual whose expansion and window are one full convolution."""
    y = b.conv(x, expanded, kernel, stride, act)
    y = b.conv(y, filters)
    if residual and stride == 1 and filters == b.channels(x):
        y = b.add(y, x)
    return y


def _edgetpu(size: str) -> Body:
    width, depth, _ = EDGETPU[size]

    def body(b: Builder) -> Sequence[int]:
        x = b.conv(b.input, rounded(32 * width), 3, 2, "relu")
        for repeats, kernel, first, expansion, filters, fused, residual in _EDGETPU_STAGES:
            for repeat in range(ceil(repeats * depth)):
                stride, out = first if repeat == 0 else 1, rounded(filters * width)
                # The first block expands as if the stem had the filters of its own output.
                expanded = (out if expansion == 4 else b.channels(x)) * expansion
                if fused:
                    x = fused_bottleneck(b, x, out, expanded, stride, kernel, "relu", residual)
                else:
                    x, _ = bottleneck(b, x, out, expanded, stride, kernel, act="relu")
        return _end(b, b.conv(x, rounded(1280 * width), act="relu"), 1001)

    return body


_SIZES = {"small": "s", "medium": "m", "large": "l"}


def find(name: Name) -> Architecture | None:
    """``efficientnet_lite0`` to ``4``, ``efficientnet_edgetpu_s``, ``_m``, ``_l``."""
    words, numbers = name.words, list(name.numbers)
    if words == "efficientnetlite" and numbers[:1] and numbers[0] in map(str, LITE):
        words += numbers.pop(0)
    for number, (_, _, side) in LITE.items():
        if words == f"efficientnetlite{number}":
            return at_side(
                f"efficientnet_lite{number}", "efficientnet_lite", _lite(number), numbers, side
            )
    for size, (_, _, side) in EDGETPU.items():
        long = next(key for key, value in _SIZES.items() if value == size)
        if words in (f"efficientnetedgetpu{size}", f"efficientnetedgetpu{long}"):
            return at_side(
                f"efficientnet_edgetpu_{size}",
                "efficientnet_edgetpu",
                _edgetpu(size),
                numbers,
                side,
            )
    return None


NAMES = (
    *(f"efficientnet_lite{number}" for number in LITE),
    *(f"efficientnet_edgetpu_{size}" for size in EDGETPU),
)
