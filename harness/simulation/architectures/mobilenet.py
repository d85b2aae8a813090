"""MobileNet V1 and V2.

Sources: arXiv 1704.04861 (table 1) and 1801.04381 (table 2); multipliers and what becomes
of the last layer: the README files of the published checkpoints. Both end, as the published
files do, in an average pool, a 1x1 convolution of 1,001 classes and a softmax.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.simulation.architectures.architecture import Architecture, Body
from harness.simulation.architectures.builder import Builder, rounded
from harness.simulation.architectures.naming import Name, decimal, side_text, sizes

#: Filters and stride of the 13 separable layers of V1.
V1_LAYERS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *((512, 1),) * 5,
    *((1024, 2), (1024, 1)),
)

#: Expansion, filters, repeats, stride of the bottlenecks of V2.
V2_LAYERS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def v1_features(
    b: Builder,
    x: int,
    width: float,
    output_stride: int = 32,
    table: Sequence[tuple[int, int]] = V1_LAYERS,
) -> list[int]:
    """The output of the first layer and of each separable one.

    V1 multiplies without rounding to multiples, with at least 8 filters. Past
    ``output_stride`` strides become dilations.
    """

    def filters(count: int) -> int:
        return max(8, int(count * width))

    layers = [b.conv(x, filters(32), 3, 2, "relu6")]
    reached, dilation = 2, 1
    for count, stride in table:
        rate = dilation
        if stride == 2 and reached >= output_stride:
            stride, dilation = 1, dilation * 2
        reached *= stride
        layers.append(
            b.separable(
                layers[-1], filters(count), 3, stride, act="relu6", inner="relu6", dilation=rate
            )
        )
    return layers


def bottleneck(
    b: Builder,
    x: int,
    filters: int,
    expanded: int,
    stride: int = 1,
    kernel: int = 3,
    dilation: int = 1,
    act: str = "relu6",
    residual: bool = True,
) -> tuple[int, int]:
    """An inverted residual: its output, and that of its expansion."""
    inner = b.conv(x, expanded, act=act) if expanded != b.channels(x) else x
    y = b.depthwise(inner, kernel, stride, act, dilation=dilation)
    y = b.conv(y, filters)
    if residual and stride == 1 and filters == b.channels(x):
        y = b.add(y, x)
    return y, inner


def v2_features(
    b: Builder, x: int, width: float, output_stride: int = 32, divisor: int = 8
) -> tuple[list[int], list[int]]:
    """Outputs of the bottlenecks of V2, and of their expansions; the first is the stem's.

    Past ``output_stride`` strides become dilations; filters are multiples of ``divisor``.
    """
    outputs = [b.conv(x, rounded(32 * width, divisor), 3, 2, "relu6")]
    inners = [outputs[0]]
    reached, dilation = 2, 1
    for expansion, filters, repeats, first in V2_LAYERS:
        for repeat in range(repeats):
            stride, rate = first if repeat == 0 else 1, dilation
            if stride == 2 and reached >= output_stride:
                stride, dilation = 1, dilation * 2
            reached *= stride
            source = outputs[-1]
            y, inner = bottleneck(
                b,
                source,
                rounded(filters * width, divisor),
                b.channels(source) * expansion,
                stride,
                dilation=rate,
            )
            outputs.append(y)
            inners.append(inner)
    return outputs, inners


def classify(b: Builder, x: int, classes: int = 1001, pool_stride: int = 1) -> list[int]:
    """Average pool, 1x1 convolution, softmax: the end of the networks of TF-Slim."""
    x = b.global_pool(x, pool_stride)
    x = b.reshape(b.conv(x, classes), (1, classes))
    return [b.softmax(x)]


def mean_classify(b: Builder, x: int, classes: int = 1000, softmax: bool = True) -> list[int]:
    """Mean, fully connected layer, softmax: the end of the networks of Keras."""
    x = b.dense(b.mean(x), classes)
    return [b.softmax(x)] if softmax else [x]


def _v1(width: float, classes: int) -> Body:
    def body(b: Builder) -> Sequence[int]:
        # The published files pool with a stride of 2 over the one position.
        return classify(b, v1_features(b, b.input, width)[-1], classes, pool_stride=2)

    return body


def _v2(width: float, classes: int) -> Body:
    def body(b: Builder) -> Sequence[int]:
        x = v2_features(b, b.input, width)[0][-1]
        x = b.conv(x, rounded(1280 * max(1.0, width)), act="relu6")
        if classes == 1001:
            return classify(b, x)
        # Files with other classes were trained anew, and have a fully connected layer.
        return [b.softmax(b.dense(b.global_pool(x, 2), classes))]

    return body


#: Words that end the names of files with other classes -> how many those are.
_CLASSES = {"bird": 965, "insect": 1022, "plant": 2102}

_V1 = {"mobilenetv1", "mobilenet", "mnv1"}
_V2 = {"mobilenetv2", "mnv2"}


def find(name: Name) -> Architecture | None:
    """MobileNet V1 and V2 at any width and resolution."""
    classes = 1001
    for word, count in _CLASSES.items():
        for suffix in (f"inat{word}", word):
            if name.words.endswith(suffix):
                name, classes = name.without(suffix), count
    if name.words not in _V1 | _V2:
        return None
    numbers = list(name.numbers)
    if name.words == "mobilenet" and numbers[:1] in (["1"], ["2"]) and len(numbers) == 3:
        return None  # a version without its v, or a width: nobody knows
    found = sizes(numbers, width=1.0, side=224)
    if found is None:
        return None
    width, (rows, columns) = found
    version = "v2" if name.words in _V2 else "v1"
    body = (_v2 if version == "v2" else _v1)(width, classes)
    suffix = next((f"_inat_{word}" for word, count in _CLASSES.items() if count == classes), "")
    return Architecture(
        f"mobilenet_{version}_{decimal(width)}_{side_text(rows, columns)}{suffix}",
        f"mobilenet_{version}",
        (1, rows, columns, 3),
        body,
    )


NAMES = tuple(
    f"mobilenet_{version}_{decimal(width)}_{side}"
    for version, widths, sides in (
        ("v1", (0.25, 0.5, 0.75, 1.0), (128, 160, 192, 224)),
        ("v2", (0.35, 0.5, 0.75, 1.0, 1.3, 1.4), (96, 128, 160, 192, 224)),
    )
    for width in widths
    for side in sides
)
