"""ResNet V1 and V2 of 50, 101, 152 and 200 layers, and V1 of 18 and 34.

Sources: arXiv 1512.03385 and 1603.05027. Three published forms differ in where the stride
is: TF-Slim's in the 3x3 window of a block's last unit, Keras' V1 in the first 1x1 window of
its first unit, and "v1.5" (MLPerf, the TensorFlow model garden) in the 3x3 window of its
first unit. In V2 a normalisation follows no convolution: it stays as MUL and ADD.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.simulation.architectures.architecture import Architecture, Body, at_side
from harness.simulation.architectures.builder import Builder
from harness.simulation.architectures.mobilenet import mean_classify
from harness.simulation.architectures.naming import Name

#: Units per block.
_UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


def padded(b: Builder, x: int, filters: int, kernel: int, stride: int, act: str = "none") -> int:
    """A convolution that is padded alike on both sides: an operator of its own with strides."""
    if stride == 1:
        return b.conv(x, filters, kernel, act=act)
    x = b.pad(x, (kernel - 1) // 2, kernel // 2)
    return b.conv(x, filters, kernel, stride, act, "valid")


def _preactivate(b: Builder, x: int) -> int:
    return b.scale(b.scale(x), "ADD", "relu")


def _shortcut(b: Builder, x: int, filters: int, stride: int, source: int) -> int:
    if b.channels(x) != filters:
        return b.conv(source, filters, 1, stride)
    return b.pool(x, "max", 1, stride, "valid") if stride > 1 else x


def features(
    b: Builder, x: int, depth: int, version: int = 1, form: str = "slim", output_stride: int = 32
) -> list[int]:
    """Outputs of the four blocks.

    ``form``: ``slim``, ``keras`` or ``garden``. ``output_stride`` of 16 keeps the last stride
    out, and its windows dilated.
    """
    x = padded(b, x, 64, 7, 2, "relu" if version == 1 else "none")
    keras = form == "keras"
    x = b.pool(b.pad(x, 1, 1), "max", 3, 2, "valid") if keras else b.pool(x, "max", 3, 2)
    late = form == "slim" or version == 2
    outputs, reached, dilation = [], 4, 1
    for number, units in enumerate(_UNITS[depth]):
        filters = 64 * 2**number
        for unit in range(units):
            strided = (number < 3 and unit == units - 1) if late else (number > 0 and unit == 0)
            stride = 2 if strided else 1
            if stride == 2 and reached >= output_stride:
                stride, dilation = 1, 2
            reached *= stride
            if depth < 50:
                x = _basic(b, x, filters, stride)
            elif version == 1:
                x = _bottleneck(b, x, filters, stride, form, dilation)
            else:
                x = _preactivated(b, x, filters, stride, dilation)
        outputs.append(x)
    return outputs


def _basic(b: Builder, x: int, filters: int, stride: int) -> int:
    y = b.conv(padded(b, x, filters, 3, stride, "relu"), filters, 3)
    changed = stride > 1 or b.channels(x) != filters
    return b.add(b.conv(x, filters, 1, stride) if changed else x, y, "relu")


def _bottleneck(b: Builder, x: int, filters: int, stride: int, form: str, dilation: int) -> int:
    first, second = (stride, 1) if form == "keras" else (1, stride)
    y = b.conv(x, filters, 1, first, "relu")
    if second > 1:
        y = padded(b, y, filters, 3, second, "relu")
    else:
        y = b.conv(y, filters, 3, act="relu", dilation=dilation)
    y = b.conv(y, 4 * filters)
    return b.add(_shortcut(b, x, 4 * filters, stride, x), y, "relu")


def _preactivated(b: Builder, x: int, filters: int, stride: int, dilation: int) -> int:
    source = _preactivate(b, x)
    shortcut = _shortcut(b, x, 4 * filters, stride, source)
    y = b.conv(source, filters, act="relu")
    if stride > 1:
        y = padded(b, y, filters, 3, stride, "relu")
    else:
        y = b.conv(y, filters, 3, act="relu", dilation=dilation)
    return b.add(shortcut, b.conv(y, 4 * filters))


def _body(depth: int, version: int, form: str) -> Body:
    def body(b: Builder) -> Sequence[int]:
        x = features(b, b.input, depth, version, form)[-1]
        if version == 2:
            x = _preactivate(b, x)
        if form != "slim":
            return mean_classify(b, x, 1001 if form == "garden" else 1000)
        classes = 1001 if version == 2 else 1000
        x = b.conv(b.mean(x, keep=True), classes)
        return [b.softmax(b.reshape(x, (1, classes)))]

    return body


#: Words of a name -> version and form.
_FORMS = {
    "resnet": (1, "keras"),
    "resnetv1": (1, "slim"),
    "resnetv2": (2, "slim"),
    "resnetgarden": (1, "garden"),
}


def find(name: Name) -> Architecture | None:
    """ResNet by depth and version: ``resnet_v1_50``, ``resnet_50_v1``, ``resnet50``, ..."""
    numbers = list(name.numbers)
    if name.words not in _FORMS or not numbers:
        return None
    version, form = _FORMS[name.words]
    written = next((n for n in numbers if n.isdigit() and int(n) in _UNITS), "")
    if not written:
        return None
    depth = int(written)
    numbers.remove(written)  # as it is written: 050 is 50 too
    if version == 2 and depth < 50:
        return None
    if version == 2 and re.match(rf"resnet_{depth}", name.whole):
        form = "keras"  # ResNet50V2, as against resnet_v2_50
    side = 299 if form == "slim" and version == 2 else 224
    stem = f"resnet_v{version}_{depth}"
    if form == "keras":
        stem = f"resnet{depth}{'v2' if version == 2 else ''}"
    stem = f"resnet_v1.5_{depth}" if form == "garden" else stem
    body = _body(depth, version, form)
    return at_side(stem, f"resnet_v{version}", body, numbers, side)


NAMES = (
    *(f"resnet_v1_{depth}" for depth in (50, 101, 152)),
    *(f"resnet_v2_{depth}" for depth in (50, 101, 152)),
    *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
    *(f"resnet{depth}v2" for depth in (50, 101, 152)),
    "resnet_v1.5_50",
)
