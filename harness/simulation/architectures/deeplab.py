"""DeepLab V3 over MobileNet V1, V2 and EdgeTPU, and a U-Net over MobileNet V2.

Sources: arXiv 1706.05587 (DeepLab V3: image pooling and one 1x1 branch at an output stride
of 16, as published for phones), 1505.04597 (U-Net); for what the published files do at
their ends, such a file.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.simulation.architectures.architecture import Architecture, Body
from harness.simulation.architectures.builder import Builder
from harness.simulation.architectures.mobilenet import v1_features, v2_features
from harness.simulation.architectures.naming import Name, decimal, side_text, sizes

#: Classes.
_PASCAL = 21

#: Files for this size end in scores, others in classes.
_GPU = 257


def _head(b: Builder, x: int, classes: int) -> int:
    """Image pooling beside a 1x1 convolution, then the logits at the stride of the features."""
    size = b.shape(x)[1:3]
    image = b.global_pool(x)
    plain = b.conv(x, 256, act="relu")
    image = b.conv(image, 256, act="relu")
    image = b.resize(image, (size[0], size[1]), align=True)
    if b.dtype == "uint8":
        # Both parts of a concatenation have one scale, and this one had another.
        image = b.convert(image, "uint8")
    x = b.conv(b.concat([image, plain]), 256, act="relu")
    return b.conv(x, classes)


def _width(named: float | None, rows: int) -> float:
    """The file for the GPUs of phones, which takes 257, is of half the width."""
    return named or (0.5 if rows == _GPU else 1.0)


def _deeplab(backbone: str, named: float | None) -> Body:
    def body(b: Builder) -> Sequence[int]:
        rows, columns = b.shape(b.input)[1:3]
        width = _width(named, rows)
        if backbone == "v1":
            x = v1_features(b, b.input, width, 16)[-1]
        else:
            # Narrower ones are not rounded to multiples of 8 here.
            x = v2_features(b, b.input, width, 16, 8 if width == 1 else 1)[0][-1]
        x = _head(b, x, _PASCAL)
        # The file resizes to the size that it has first, then to that of the image.
        size = b.shape(x)[1:3]
        x = b.resize(x, (size[0], size[1]), align=True)
        x = b.resize(x, (rows, columns), align=True)
        return [x if rows == _GPU else b.arg_max(x)]

    return body


def _unet(b: Builder) -> Sequence[int]:
    """The encoder is MobileNet V2; its expansions are the skips."""
    outputs, inners = v2_features(b, b.input, 1.0)
    x = outputs[17]
    for filters, skip in ((512, inners[14]), (256, inners[7]), (128, inners[4]), (64, inners[2])):
        x = b.concat([b.unary("RELU", b.transposed(x, filters, 3, 2)), skip])
    x = b.transposed(x, 3, 3, 2)
    return [x]


#: What names call MobileNet V2, which is the default.
_V2 = ("", "mv2", "mnv2", "mv", "mobilenetv2", "mobilenet")


def find(name: Name) -> Architecture | None:
    """``deeplabv3``, ``deeplabv3_mnv2_dm05_pascal``, ``deeplabv3_257_mv_gpu``, ``unet_mv2``."""
    words = name.words
    if words in ("unetmv2", "unetmnv2", "unetmobilenetv2", "unet"):
        found = sizes(name.numbers, side=128)
        if found is None or found[0] != 1:
            return None
        rows, columns = found[1]
        return Architecture(
            f"unet_mv2_{side_text(rows, columns)}", "unet", (1, rows, columns, 3), _unet
        )
    if not words.startswith("deeplab"):
        return None
    rest = words.removeprefix("deeplab").removeprefix("v3").removeprefix("plus")
    if rest in ("mv1", "mnv1", "mobilenetv1"):
        backbone = "v1"
    elif rest in _V2:
        backbone = "v2"
    else:
        return None
    numbers = [number for number in name.numbers if number != "3"]
    found = sizes(numbers, width=0.0625, side=513)
    if found is None:
        return None
    width, (rows, columns) = found
    named = None if width == 0.0625 else width
    text = decimal(_width(named, rows))
    return Architecture(
        f"deeplab_v3_mobilenet_{backbone}_{text}_{side_text(rows, columns)}",
        "deeplab_v3",
        (1, rows, columns, 3),
        _deeplab(backbone, named),
    )


NAMES = (
    "deeplab_v3_mobilenet_v2_1.0_513",
    "deeplab_v3_mobilenet_v2_0.5_513",
    "deeplab_v3_mobilenet_v2_0.5_257",
    "unet_mv2_128",
)
