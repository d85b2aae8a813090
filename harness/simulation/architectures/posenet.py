"""PoseNet and BodyPix over MobileNet V1 and ResNet 50.

Sources: arXiv 1803.08225 and, for the form of the published files, such a file: heat maps
and offsets of 17 key points, displacements of 32 edges forward and backward; with a decoder
as a custom operator.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.simulation.architectures import resnet
from harness.simulation.architectures.architecture import Architecture, Body
from harness.simulation.architectures.builder import Builder
from harness.simulation.architectures.mobilenet import V1_LAYERS, v1_features
from harness.simulation.architectures.naming import Name, decimal, sizes

_POINTS, _EDGES = 17, 32

#: MobileNet V1 without its last stride, nor the filters that come with it.
_LAYERS = (*V1_LAYERS[:-2], (512, 1), (512, 1))


def _maps(b: Builder, x: int, body_parts: bool) -> tuple[list[int], list[int]]:
    """The maps for the decoder, and those of the parts of a body."""

    def unsigned(x: int) -> int:
        # The decoder takes uint8.
        return b.convert(x, "uint8") if b.dtype == "int8" else x

    first, second = b.conv(x, _EDGES), b.conv(x, _EDGES)
    between = unsigned(b.concat([second, first]))
    heat, offsets = (unsigned(b.conv(x, count)) for count in (_POINTS, 2 * _POINTS))
    maps = [heat, offsets, between]
    parts = []
    if body_parts:
        parts = [unsigned(b.conv(x, count)) for count in (24, 1)]
        long = unsigned(b.conv(x, 2 * _POINTS))
        maps = [heat, long, between, offsets]
    return maps, parts


def _body(backbone: str, width: float, stride: int, parts: bool, decoder: bool) -> Body:
    def body(b: Builder) -> Sequence[int]:
        x = b.requantized_input() if b.dtype == "int8" else b.input
        if backbone == "resnet50":
            x = resnet.features(b, x, 50, 1, "slim", stride)[-1]
        else:
            # Even extents make a map that begins and ends at the picture's edges.
            x = b.pad(x, 0, 1) if decoder else x
            x = v1_features(b, x, width, stride, _LAYERS if decoder else V1_LAYERS)[-1]
        maps, segments = _maps(b, x, parts)
        if not decoder:
            return [*maps, *segments]
        count = 5 if parts else 4
        outputs = [b.tensor(f"poses_{number}", (), "float32") for number in range(count)]
        b.operator("PosenetDecoderOp", maps, outputs, custom=True)
        return [*outputs, *segments]

    return body


def find(name: Name) -> Architecture | None:
    """``posenet_mobilenet_v1_075_353_481_16_quant_decoder``, the same of ``bodypix``, ...

    Behind the width come rows, columns and the output stride.
    """
    words = name.words
    decoder = words.endswith("decoder")
    words = words.removesuffix("decoder")
    if words.startswith("multiperson"):
        words = "posenet" + words.removeprefix("multiperson")
    for word in ("multi", "single", "person", "kpt", "stripped"):
        words = words.replace(word, "")
    for family in ("posenet", "bodypix"):
        if words in (family, f"{family}mobilenetv1", f"{family}mv1", f"{family}mobilenet"):
            backbone = "mobilenet_v1"
            break
        if words in (f"{family}resnet", f"{family}resnetv1"):
            backbone = "resnet50"
            break
    else:
        return None
    numbers = list(name.numbers)
    stride = 16
    if backbone == "resnet50" and numbers[:1] == ["50"]:
        numbers.pop(0)
    if len(numbers) > 1 and numbers[-1] in ("8", "16", "32"):
        stride = int(numbers.pop())
    # The file for phones takes 257 and is of full width.
    phones = numbers in ([], ["257"]) and backbone != "resnet50" and not decoder
    small = (257, 257) if phones else (353, 481)
    found = sizes(numbers, width=1.0 if phones else 0.75, side=small)
    if found is None:
        return None
    width, (rows, columns) = found
    stem = f"{family}_{backbone}"
    if backbone == "mobilenet_v1":
        stem += f"_{decimal(width)}"
    return Architecture(
        f"{stem}_{rows}_{columns}_{stride}{'_decoder' if decoder else ''}",
        family,
        (1, rows, columns, 3),
        _body(backbone, width, stride, family == "bodypix", decoder),
    )


NAMES = (
    "posenet_mobilenet_v1_1.0_257_257_16",
    *(
        f"posenet_mobilenet_v1_0.75_{rows}_{columns}_16_decoder"
        for rows, columns in ((353, 481), (481, 641), (721, 1281))
    ),
    *(f"bodypix_mobilenet_v1_0.75_{side}_16_decoder" for side in ("480_640", "512_512")),
)
