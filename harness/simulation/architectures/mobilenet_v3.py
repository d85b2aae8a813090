"""MobileNet V3, its minimalistic form, and MobileNet EdgeTPU (V1).

Sources: arXiv 1905.02244 (tables 1 and 2), and the definitions and README of the published
checkpoints. Hard swish is an operator of its own; the gate of squeeze-and-excite is
relu6(x + 3) / 6: an ADD with a fused RELU6 and a MUL.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.simulation.architectures.architecture import Architecture, Body
from harness.simulation.architectures.builder import Builder, rounded
from harness.simulation.architectures.efficientnet import fused_bottleneck
from harness.simulation.architectures.mobilenet import bottleneck
from harness.simulation.architectures.naming import Name, decimal, side_text, sizes

_RELU, _SWISH = "relu", "hard_swish"

#: A body for a width.
_Scaled = Callable[[float], Body]

#: Expansion, filters, window, stride, activation, squeeze-and-excite.
Row = tuple[float, int, int, int, str, bool]

LARGE: tuple[Row, ...] = (
    (1, 16, 3, 1, _RELU, False),
    (4, 24, 3, 2, _RELU, False),
    (3, 24, 3, 1, _RELU, False),
    (3, 40, 5, 2, _RELU, True),
    (3, 40, 5, 1, _RELU, True),
    (3, 40, 5, 1, _RELU, True),
    (6, 80, 3, 2, _SWISH, False),
    (2.5, 80, 3, 1, _SWISH, False),
    (184 / 80, 80, 3, 1, _SWISH, False),
    (184 / 80, 80, 3, 1, _SWISH, False),
    (6, 112, 3, 1, _SWISH, True),
    (6, 112, 3, 1, _SWISH, True),
    (6, 160, 5, 2, _SWISH, True),
    (6, 160, 5, 1, _SWISH, True),
    (6, 160, 5, 1, _SWISH, True),
)

SMALL: tuple[Row, ...] = (
    (1, 16, 3, 2, _RELU, True),
    (72 / 16, 24, 3, 2, _RELU, False),
    (88 / 24, 24, 3, 1, _RELU, False),
    (4, 40, 5, 2, _SWISH, True),
    (6, 40, 5, 1, _SWISH, True),
    (6, 40, 5, 1, _SWISH, True),
    (3, 48, 5, 1, _SWISH, True),
    (3, 48, 5, 1, _SWISH, True),
    (6, 96, 5, 2, _SWISH, True),
    (6, 96, 5, 1, _SWISH, True),
    (6, 96, 5, 1, _SWISH, True),
)

#: Filters of the last two convolutions.
_ENDS = {"large": (960, 1280), "small": (576, 1024)}

#: Expansion, filters, window, stride, fused, residual of MobileNet EdgeTPU.
EDGETPU = (
    (1, 16, 3, 1, True, True),
    *((8, 32, 3, 2, True, True), *((4, 32, 3, 1, True, True),) * 3),
    *((8, 48, 3, 2, True, True), *((4, 48, 3, 1, True, True),) * 3),
    *((8, 96, 3, 2, False, True), *((4, 96, 3, 1, False, True),) * 3),
    *((8, 96, 3, 1, False, False), *((4, 96, 3, 1, False, True),) * 3),
    *((8, 160, 5, 2, False, True), *((4, 160, 5, 1, False, True),) * 3),
    (8, 192, 3, 1, False, True),
)


def activate(b: Builder, x: int, act: str) -> int:
    """An activation that nothing can be fused with."""
    return b.unary("HARD_SWISH", x) if act == _SWISH else x


def conv(b: Builder, x: int, filters: int, kernel: int = 1, stride: int = 1, act: str = "") -> int:
    """A convolution and its activation, hard swish as well."""
    fused = act if act in ("relu", "relu6") else "none"
    return activate(b, b.conv(x, filters, kernel, stride, fused), act)


def squeeze_excite(b: Builder, x: int, squeezed: int) -> int:
    """Scales channels by a gate that is computed from their means."""
    depth = b.channels(x)
    gate = b.conv(b.mean(x, keep=True), squeezed, act="relu")
    gate = b.conv(gate, depth)
    three = b.constant("three", (1,), b.activation)
    sixth = b.constant("sixth", (1,), b.activation)
    gate = b.mul(b.add(gate, three, "relu6"), sixth)
    return b.mul(x, gate)


def features(
    b: Builder,
    x: int,
    rows: Sequence[Row],
    width: float,
    minimalistic: bool = False,
    output_stride: int = 32,
) -> tuple[list[int], list[int]]:
    """Outputs of the stem and the blocks, and of their expansions."""
    outputs = [conv(b, x, rounded(16 * width), 3, 2, _RELU if minimalistic else _SWISH)]
    inners, reached, dilation = [outputs[0]], 2, 1
    for expansion, filters, kernel, stride, act, excite in rows:
        x, rate = outputs[-1], dilation
        if stride == 2 and reached >= output_stride:
            stride, dilation = 1, dilation * 2
        reached *= stride
        if minimalistic:
            kernel, act, excite = 3, _RELU, False
        expanded = rounded(b.channels(x) * expansion)
        y = conv(b, x, expanded, act=act) if expanded > b.channels(x) else x
        inners.append(y)
        fused = act if act == _RELU else "none"
        y = activate(b, b.depthwise(y, kernel, stride, fused, dilation=rate), act)
        if excite:
            y = squeeze_excite(b, y, rounded(expanded / 4))
        y = b.conv(y, rounded(filters * width))
        if stride == 1 and b.channels(x) == b.channels(y):
            y = b.add(y, x)
        outputs.append(y)
    return outputs, inners


def _v3(size: str, width: float, minimalistic: bool) -> Body:
    rows = LARGE if size == "large" else SMALL
    act = _RELU if minimalistic else _SWISH
    first, second = _ENDS[size]

    def body(b: Builder) -> Sequence[int]:
        x = features(b, b.input, rows, width, minimalistic)[0][-1]
        x = b.global_pool(conv(b, x, rounded(first * width), act=act))
        # As in V2 the last layer keeps its size where the others are made narrower.
        x = conv(b, x, rounded(second * max(1.0, width)), act=act)
        x = b.reshape(b.conv(x, 1001), (1, 1001))
        return [b.softmax(x)]

    return body


def edgetpu_features(b: Builder, x: int, width: float) -> tuple[list[int], list[int]]:
    """Outputs of the stem and the blocks of MobileNet EdgeTPU, and of their expansions."""
    outputs = [b.conv(x, rounded(32 * width), 3, 2, "relu")]
    inners = [outputs[0]]
    for expansion, filters, kernel, stride, fused, residual in EDGETPU:
        x, out = outputs[-1], rounded(filters * width)
        expanded = b.channels(x) * expansion
        inner = x
        if expansion == 1:
            # Nothing to expand: only the projection is left of a fused block.
            x = b.conv(x, out)
        elif fused:
            x = fused_bottleneck(b, x, out, expanded, stride, kernel, "relu", residual)
        else:
            x, inner = bottleneck(
                b, x, out, expanded, stride, kernel, act="relu", residual=residual
            )
        outputs.append(x)
        inners.append(inner)
    return outputs, inners


def _edgetpu(width: float) -> Body:
    def body(b: Builder) -> Sequence[int]:
        x = edgetpu_features(b, b.input, width)[0][-1]
        x = b.global_pool(b.conv(x, rounded(1280 * max(1.0, width)), act="relu"))
        return [b.softmax(b.reshape(b.conv(x, 1001), (1, 1001)))]

    return body


_EDGETPU = {"mobilenetedgetpu", "mobilenetv3edgetpu", "mobilenetedgetpuv1"}


def find(name: Name) -> Architecture | None:
    """``mobilenet_v3_large``, ``..._small``, minimalistic ones, ``mobilenet_edgetpu``."""
    words = name.words
    if words in _EDGETPU:
        return _named("mobilenet_edgetpu", "mobilenet_edgetpu", _edgetpu, name)
    minimalistic = any(word in words for word in ("minimalistic", "minimal"))
    words = words.replace("minimalistic", "").replace("minimal", "")
    for size in ("large", "small"):
        if words in (f"mobilenetv3{size}", f"mobilenet{size}v3", f"v3{size}", f"mnv3{size}"):
            break
    else:
        if words not in ("mobilenetv3", "mnv3"):
            return None
        size = "large"

    def body(width: float) -> Body:
        return _v3(size, width, minimalistic)

    stem = f"mobilenet_v3_{size}{'_minimalistic' if minimalistic else ''}"
    return _named(stem, "mobilenet_v3", body, name)


def _named(stem: str, family: str, body: _Scaled, name: Name) -> Architecture | None:
    found = sizes(name.numbers, width=1.0, side=224)
    if found is None:
        return None
    width, (rows, columns) = found
    return Architecture(
        f"{stem}_{decimal(width)}_{side_text(rows, columns)}",
        family,
        (1, rows, columns, 3),
        body(width),
    )


NAMES = (
    *(
        f"mobilenet_v3_{size}_{decimal(width)}_224"
        for size in ("large", "small")
        for width in (0.75, 1.0)
    ),
    *(f"mobilenet_v3_{size}_minimalistic_1.0_224" for size in ("large", "small")),
    *(f"mobilenet_edgetpu_{decimal(width)}_224" for width in (0.75, 1.0, 1.25, 1.5, 1.75)),
)
