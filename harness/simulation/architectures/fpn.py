"""SSD with a feature pyramid (RetinaNet) over MobileNet V1, V2 and ResNet V1.

Sources: arXiv 1612.03144 and 1708.02002, and the published configurations: 6 anchors per
position, 91 classes, four layers in each head, whose weights all levels share but for the
normalisations that are folded into them. Where levels are enlarged, the files repeat pixels
by PACK and RESHAPE; here that is RESIZE_NEAREST_NEIGHBOR, which moves the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.simulation.architectures import resnet
from harness.simulation.architectures.architecture import Architecture, Body
from harness.simulation.architectures.builder import Builder
from harness.simulation.architectures.detection import detector_first, joined, postprocess
from harness.simulation.architectures.mobilenet import v1_features, v2_features
from harness.simulation.architectures.naming import Name, side_text, sizes

_CLASSES, _ANCHORS, _LAYERS = 91, 6, 4


def _maps(b: Builder, backbone: str) -> list[int]:
    """The maps at strides 8, 16 and 32."""
    if backbone == "mobilenet_v1":
        layers = v1_features(b, b.input, 1.0)
        return [layers[5], layers[11], layers[13]]
    if backbone == "mobilenet_v2":
        outputs = v2_features(b, b.input, 1.0)[0]
        return [outputs[6], outputs[13], b.conv(outputs[-1], 1280, act="relu6")]
    depth = int(backbone.removeprefix("resnet"))
    return resnet.features(b, b.input, depth, 1, "keras")[1:]


class _Pyramid:
    """The pyramid and its heads; ``lite``: of separable convolutions, with one tower."""

    def __init__(self, b: Builder, depth: int, lite: bool) -> None:
        self.b, self.depth, self.lite = b, depth, lite

    def layer(self, x: int, stride: int = 1, shared: str = "") -> int:
        b = self.b
        if self.lite:
            x = b.depthwise(x, 3, stride, shared=shared)
            return b.conv(x, self.depth, act="relu6")
        return b.conv(x, self.depth, 3, stride, "relu6")

    def levels(self, maps: Sequence[int]) -> list[int]:
        b = self.b
        x = b.conv(maps[-1], self.depth)
        found = [x]
        for part in reversed(maps[:-1]):
            rows, columns = b.shape(part)[1:3]
            x = b.resize(x, (rows, columns), "NEAREST_NEIGHBOR")
            x = b.add(x, b.conv(part, self.depth))
            found.insert(0, self.layer(x))
        for _ in range(2):
            found.append(self.layer(found[-1], 2))
        return found

    def tower(self, x: int, kind: str) -> int:
        for number in range(_LAYERS):
            x = self.layer(x, shared=f"{kind}_{number}")
        return x

    def predict(self, x: int, outputs: int, kind: str) -> int:
        b = self.b
        if self.lite:
            x = b.depthwise(x, 3, shared=kind)
        return b.conv(x, outputs, 1 if self.lite else 3, shared=kind)

    def heads(self, levels: Sequence[int]) -> Sequence[int]:
        codes, kinds = [], []
        for level in levels:
            boxes = self.tower(level, "boxes")
            classes = boxes if self.lite else self.tower(level, "classes")
            codes.append(self.predict(boxes, 4 * _ANCHORS, "box"))
            kinds.append(self.predict(classes, _CLASSES * _ANCHORS, "class"))
        boxes, scores = joined(self.b, codes, kinds, _CLASSES)
        return postprocess(self.b, boxes, self.b.unary("LOGISTIC", scores))


def _body(backbone: str, lite: bool) -> Body:
    def body(b: Builder) -> Sequence[int]:
        pyramid = _Pyramid(b, 128 if lite else 256, lite)
        return pyramid.heads(pyramid.levels(_maps(b, backbone)))

    return body


def find(name: Name) -> Architecture | None:
    """``ssd_mobilenet_v1_fpn``, ``ssd_mobilenet_v2_fpnlite``, ``ssd_resnet50_v1_fpn``, ..."""
    words, numbers = detector_first(name.words), list(name.numbers)
    lite = "fpnlite" in words or words.startswith("ssdlite")
    words = words.replace("fpnlite", "").replace("fpn", "")
    if "fpn" not in name.words and not words.startswith("retinanet"):
        return None
    words = words.removeprefix("retinanet").removeprefix("ssdlite").removeprefix("ssd")
    if words in ("mobilenetv1", "mobilenetv2"):
        backbone = words.replace("tv", "t_v")
    elif words in ("", "resnet", "resnetv1"):
        depth = next((n for n in numbers if n in ("50", "101", "152")), "")
        if depth:
            numbers.remove(depth)
        backbone = f"resnet{depth or 50}"
    else:
        return None
    found = sizes(numbers, width=1.0, side=320 if lite else 640)
    if found is None or found[0] != 1:
        return None
    rows, columns = found[1]
    stem = f"ssd_{backbone}_{'fpnlite' if lite else 'fpn'}"
    return Architecture(
        f"{stem}_{side_text(rows, columns)}",
        "ssd_fpn",
        (1, rows, columns, 3),
        _body(backbone, lite),
    )


NAMES = (
    "ssd_mobilenet_v1_fpn_640",
    "ssd_mobilenet_v2_fpnlite_320",
    "ssd_mobilenet_v2_fpnlite_640",
    "ssd_resnet50_fpn_640",
    "ssd_resnet50_fpn_1024",
    "ssd_resnet101_fpn_640",
)
