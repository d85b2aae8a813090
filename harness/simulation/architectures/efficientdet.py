"""EfficientDet-Lite.

Sources: arXiv 1911.09070 and the published parameters of the Lite models. Features are
summed without weights, activations are ReLU6, of 90 classes and 9 anchors per position.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.simulation.architectures.architecture import Architecture, Body, at_side
from harness.simulation.architectures.builder import Builder
from harness.simulation.architectures.detection import joined, postprocess
from harness.simulation.architectures.efficientnet import lite_features
from harness.simulation.architectures.naming import Name

#: Backbone, resolution, filters, cells of the pyramid, layers of the heads.
LITE = {
    "0": (0, 320, 64, 3, 3),
    "1": (1, 384, 88, 4, 3),
    "2": (2, 448, 112, 5, 3),
    "3": (3, 512, 160, 6, 4),
    "3x": (3, 640, 200, 6, 4),
    "4": (4, 640, 224, 7, 4),
}

_CLASSES, _ANCHORS = 90, 9


def _sized(b: Builder, x: int, filters: int, size: Sequence[int]) -> int:
    """A feature with the filters and the extents that a node wants."""
    if b.channels(x) != filters:
        x = b.conv(x, filters)
    rows, columns = b.shape(x)[1:3]
    if rows > size[0]:
        stride = (rows - 1) // size[0] + 1
        return b.pool(x, "max", stride + 1, stride)
    if rows < size[0] or columns < size[1]:
        return b.resize(x, (size[0], size[1]), "NEAREST_NEIGHBOR")
    return x


def _cell(b: Builder, levels: Sequence[int], filters: int) -> list[int]:
    """One cell of the pyramid: top-down, then bottom-up."""

    def node(target: int, parts: Sequence[int]) -> int:
        size = b.shape(target)[1:3]
        parts = [_sized(b, part, filters, size) for part in parts]
        for number, part in enumerate(parts[1:]):
            act = "relu6" if number == len(parts) - 2 else "none"
            parts[0] = b.add(parts[0], part, act)
        return b.separable(parts[0], filters)

    middle = list(levels)
    for number in range(len(levels) - 2, -1, -1):
        middle[number] = node(levels[number], [levels[number], middle[number + 1]])
    outputs = [middle[0]]
    for number in range(1, len(levels)):
        own = [levels[number]]
        if number < len(levels) - 1:
            own.append(middle[number])
        outputs.append(node(levels[number], [*own, outputs[-1]]))
    return outputs


def _lite(version: str) -> Body:
    backbone, _, filters, cells, repeats = LITE[version]

    def body(b: Builder) -> Sequence[int]:
        x = b.input
        if b.dtype == "int8":
            # The published file takes uint8.
            x = b.requantized_input()
        stages = lite_features(b, x, backbone)
        levels = [stages[2], stages[4], stages[6]]
        rows, columns = b.shape(levels[-1])[1:3]
        for _ in range(2):
            rows, columns = (rows + 1) // 2, (columns + 1) // 2
            levels.append(_sized(b, levels[-1], filters, (rows, columns)))
        for _ in range(cells):
            levels = _cell(b, levels, filters)

        def head(kind: str, level: int, outputs: int) -> int:
            # All levels share what no normalisation of their own is folded into.
            for number in range(repeats):
                level = b.depthwise(level, shared=f"{kind}_{number}")
                level = b.conv(level, filters, act="relu6")
            level = b.depthwise(level, shared=f"{kind}_out")
            return b.conv(level, outputs, shared=f"{kind}_out")

        kinds = [head("class", level, _CLASSES * _ANCHORS) for level in levels]
        codes = [head("box", level, 4 * _ANCHORS) for level in levels]
        boxes, scores = joined(b, codes, kinds, _CLASSES)
        return postprocess(b, boxes, b.unary("LOGISTIC", scores), 25)

    return body


def find(name: Name) -> Architecture | None:
    """``efficientdet_lite0`` to ``4``, and ``3x``."""
    words, numbers = name.words, list(name.numbers)
    if words == "efficientdetlite" and numbers and numbers[0] in LITE:
        words += numbers.pop(0)
    for version, (_, side, *_rest) in LITE.items():
        if words == f"efficientdetlite{version}":
            stem, family = f"efficientdet_lite{version}", "efficientdet_lite"
            return at_side(stem, family, _lite(version), numbers, side)
    return None


NAMES = tuple(f"efficientdet_lite{version}" for version in LITE)
