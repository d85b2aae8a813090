"""SSD and SSDLite over MobileNets.

Sources: arXiv 1512.02325 (SSD), 1801.04381 (SSDLite), and the configurations that the TF
Object Detection API published: 91 classes with the background, 3 anchors per position of
the first map and 6 of the others, 1x1 or 3x3 windows (SSD) or separable 3x3 ones (SSDLite).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.simulation.architectures import inception, mobilenet_v3
from harness.simulation.architectures.architecture import Architecture, Body
from harness.simulation.architectures.builder import Builder, rounded
from harness.simulation.architectures.detection import detector_first, joined, postprocess
from harness.simulation.architectures.mobilenet import v1_features, v2_features
from harness.simulation.architectures.naming import Name, decimal, side_text, sizes

#: Filters of the layers that extend the pyramid; each is first squeezed to a half.
_EXTRAS = (512, 256, 256, 128)

#: Gives the maps at strides 16 and 32 of an input, at a width.
Backbone = Callable[[Builder, int, float], list[int]]


def v1_maps(b: Builder, x: int, width: float) -> list[int]:
    """The maps of MobileNet V1 at strides 16 and 32."""
    layers = v1_features(b, x, width)
    return [layers[11], layers[13]]


def v2_maps(b: Builder, x: int, width: float) -> list[int]:
    """The maps of MobileNet V2 at stride 16 (an expansion) and 32."""
    outputs, inners = v2_features(b, x, width)
    last = b.conv(outputs[-1], rounded(1280 * max(1.0, width)), act="relu6")
    return [inners[14], last]


def _v3_maps(size: str) -> Backbone:
    """The maps of MobileNet V3, whose last stage is of half the filters in detectors."""
    rows = mobilenet_v3.LARGE if size == "large" else mobilenet_v3.SMALL
    first, last = (12, 480) if size == "large" else (8, 288)
    halved = [
        (row[0], row[1] // 2 if number >= first else row[1], *row[2:])
        for number, row in enumerate(rows)
    ]

    def maps(b: Builder, x: int, width: float) -> list[int]:
        outputs, inners = mobilenet_v3.features(b, x, halved, width)
        x = mobilenet_v3.conv(b, outputs[-1], rounded(last * width), act="hard_swish")
        return [inners[first + 1], x]

    return maps


def _edgetpu_maps(b: Builder, x: int, width: float) -> list[int]:
    """The maps of MobileNet EdgeTPU: the expansion of the last block at stride 16."""
    outputs, inners = mobilenet_v3.edgetpu_features(b, x, width)
    return [inners[17], outputs[-1]]


def _inception_maps(b: Builder, x: int, width: float) -> list[int]:
    return inception.v2_maps(b, x)


def extended(b: Builder, maps: Sequence[int], width: float, lite: bool) -> list[int]:
    """The maps and four more, each half the size of the one before."""
    maps = list(maps)
    for filters in _EXTRAS:
        filters = rounded(filters * width) if lite else max(16, int(filters * width))
        x = b.conv(maps[-1], filters // 2, act="relu6")
        if lite:
            x = b.separable(x, filters, 3, 2, act="relu6", inner="relu6")
        else:
            x = b.conv(x, filters, 3, 2, "relu6")
        maps.append(x)
    return maps


def heads(
    b: Builder,
    maps: Sequence[int],
    classes: int,
    lite: bool = False,
    anchors: Sequence[int] = (3, 6, 6, 6, 6, 6),
    window: int = 1,
) -> Sequence[int]:
    """Predictors on each map, joined, and the decoding of boxes."""

    def predict(x: int, outputs: int) -> int:
        return b.separable(x, outputs, 3, inner="relu6") if lite else b.conv(x, outputs, window)

    codes, kinds = [], []
    for x, count in zip(maps, anchors, strict=True):
        codes.append(predict(x, 4 * count))
        kinds.append(predict(x, classes * count))
    boxes, scores = joined(b, codes, kinds, classes, ranks=4)
    return postprocess(b, boxes, b.unary("LOGISTIC", scores))


def _float_zoo(b: Builder, backbone: Backbone, classes: int) -> bool:
    """Whether it is the float detector over MobileNet V2 of TensorFlow 1's zoo.

    That one has 3x3 windows, and separable layers that extend the pyramid (16.818 million
    parameters, Open Model Zoo); the quantized files of its name, Coral's among them, have 1x1
    windows and whole layers (6 million).
    """
    return backbone is v2_maps and classes > 2 and b.dtype not in ("int8", "uint8")


def _ssd(backbone: Backbone, width: float, classes: int, lite: bool) -> Body:
    def body(b: Builder) -> Sequence[int]:
        zoo = _float_zoo(b, backbone, classes)
        maps = extended(b, backbone(b, b.input, width), width, lite or zoo)
        window = 3 if zoo or backbone is _inception_maps else 1
        return heads(b, maps, classes, lite, window=window)

    return body


#: Words -> canonical stem, backbone, whether it is SSDLite.
_KNOWN: dict[str, tuple[str, Backbone, bool]] = {
    "ssdmobilenetv1": ("ssd_mobilenet_v1", v1_maps, False),
    "ssdlitemobilenetv1": ("ssdlite_mobilenet_v1", v1_maps, True),
    "ssdmobilenetv1ppn": ("ssd_mobilenet_v1", v1_maps, False),
    "ssdmobilenetv2": ("ssd_mobilenet_v2", v2_maps, False),
    "ssdlitemobilenetv2": ("ssdlite_mobilenet_v2", v2_maps, True),
    "ssdmobilenetv3large": ("ssdlite_mobilenet_v3_large", _v3_maps("large"), True),
    "ssdmobilenetv3small": ("ssdlite_mobilenet_v3_small", _v3_maps("small"), True),
    "ssdmobilenetv3": ("ssdlite_mobilenet_v3_large", _v3_maps("large"), True),
    "ssdmobilenetedgetpu": ("ssdlite_mobilenet_edgetpu", _edgetpu_maps, True),
    "ssdinceptionv2": ("ssd_inception_v2", _inception_maps, False),
}


def find(name: Name) -> Architecture | None:
    """SSD and SSDLite over MobileNet V1 and V2; ``face`` is of one class at 320."""
    words = name.words.replace("mnv", "mobilenetv")
    face = "face" in words
    words = words.replace("face", "")
    words = detector_first(words)
    # Those over V3 and EdgeTPU were published as SSDLite only, whatever they are called.
    known = _KNOWN.get(words) or _KNOWN.get(words.replace("ssdlite", "ssd"))
    if known is None:
        return None
    stem, backbone, lite = known
    numbers = name.numbers
    if name.whole == "ssd_mobilenet_v2_320x320" and not face:
        numbers = ("300",)  # what the configuration of that name has
    later = stem.endswith(("large", "small", "edgetpu"))
    found = sizes(numbers, width=1.0, side=320 if face or later else 300)
    if found is None:
        return None
    width, (rows, columns) = found
    full = f"{stem}{'_face' if face else ''}"
    full += "" if width == 1 else f"_{decimal(width)}"
    return Architecture(
        f"{full}_{side_text(rows, columns)}",
        stem,
        (1, rows, columns, 3),
        _ssd(backbone, width, 2 if face else 91, lite),
    )


NAMES = (
    "ssd_mobilenet_v1_300",
    "ssd_mobilenet_v2_300",
    "ssd_mobilenet_v2_face_320",
    "ssdlite_mobilenet_v2_300",
    "ssdlite_mobilenet_v3_large_320",
    "ssdlite_mobilenet_v3_small_320",
    "ssdlite_mobilenet_edgetpu_320",
    "ssd_inception_v2_300",
)
