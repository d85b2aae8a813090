"""EfficientNet B0 to B7, and Xception, as Keras has them.

Sources: arXiv 1905.11946 (tables 1 and 2) and 1610.02357 (figure 5). Swish is LOGISTIC and
MUL; the networks normalise their input themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from harness.simulation.architectures.architecture import Architecture, Body, at_side
from harness.simulation.architectures.builder import Builder, rounded
from harness.simulation.architectures.mobilenet import mean_classify
from harness.simulation.architectures.naming import Name

#: Width, depth, resolution.
_FORMS = {
    0: (1.0, 1.0, 224),
    1: (1.0, 1.1, 240),
    2: (1.1, 1.2, 260),
    3: (1.2, 1.4, 300),
    4: (1.4, 1.8, 380),
    5: (1.6, 2.2, 456),
    6: (1.8, 2.6, 528),
    7: (2.0, 3.1, 600),
}

#: Repeats, window, stride, expansion, filters; EfficientNet-Lite's too.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def _swish(b: Builder, x: int) -> int:
    return b.mul(x, b.unary("LOGISTIC", x))


def _normalised(b: Builder, x: int) -> int:
    """Rescaling and normalisation of the pixels."""
    return b.scale(b.scale(b.scale(x), "ADD"))


def _excited(b: Builder, x: int, squeezed: int) -> int:
    depth = b.channels(x)
    gate = b.reshape(b.mean(x), (-1, 1, 1, depth))
    gate = _swish(b, b.conv(gate, squeezed))
    return b.mul(x, b.unary("LOGISTIC", b.conv(gate, depth)))


def _block(b: Builder, x: int, filters: int, expansion: int, kernel: int, stride: int) -> int:
    count, y = b.channels(x), x
    if expansion > 1:
        y = _swish(b, b.conv(x, count * expansion))
    if stride > 1:
        # Padded as Keras does it: more at the end where an extent is even.
        even = b.shape(y)[1] % 2 == 0
        y = b.pad(y, kernel // 2 - even, kernel // 2)
        y = b.depthwise(y, kernel, stride, padding="valid")
    else:
        y = b.depthwise(y, kernel)
    y = b.conv(_excited(b, _swish(b, y), max(1, count // 4)), filters)
    return b.add(y, x) if stride == 1 and filters == count else y


def _body(number: int) -> Body:
    width, depth, _ = _FORMS[number]

    def body(b: Builder) -> Sequence[int]:
        x = _normalised(b, b.input)
        even = b.shape(x)[1] % 2 == 0
        x = b.conv(b.pad(x, 1 - even, 1), rounded(32 * width), 3, 2, padding="valid")
        x = _swish(b, x)
        for repeats, kernel, first, expansion, filters in STAGES:
            for repeat in range(ceil(repeats * depth)):
                stride = first if repeat == 0 else 1
                x = _block(b, x, rounded(filters * width), expansion, kernel, stride)
        return mean_classify(b, _swish(b, b.conv(x, rounded(1280 * width))))

    return body


def _xception(b: Builder) -> Sequence[int]:
    x = b.conv(b.input, 32, 3, 2, "relu", "valid")
    x = b.conv(x, 64, 3, act="relu", padding="valid")
    for filters in (128, 256, 728, 1024):
        if filters == 1024:
            for _ in range(8):
                y = x
                for _ in range(3):
                    y = b.separable(b.unary("RELU", y), 728)
                x = b.add(y, x)
        shortcut = b.conv(x, filters, 1, 2)
        # The first block begins behind a ReLU that is fused already.
        y = x if filters == 128 else b.unary("RELU", x)
        y = b.separable(y, 728 if filters == 1024 else filters, act="relu")
        y = b.pool(b.separable(y, filters), "max", 3, 2)
        x = b.add(y, shortcut)
    x = b.separable(b.separable(x, 1536, act="relu"), 2048, act="relu")
    return mean_classify(b, x)


def find(name: Name) -> Architecture | None:
    """``efficientnet_b0`` to ``b7``, and ``xception``."""
    numbers = list(name.numbers)
    if name.words == "xception":
        return at_side("xception", "xception", _xception, numbers, 299)
    if name.words != "efficientnetb" or not numbers or not numbers[0].isdigit():
        return None
    number = int(numbers.pop(0))
    if number not in _FORMS:
        return None
    stem = f"efficientnet_b{number}"
    return at_side(stem, "efficientnet", _body(number), numbers, _FORMS[number][2])


NAMES = (*(f"efficientnet_b{number}" for number in _FORMS), "xception")
