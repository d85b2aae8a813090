"""VGG and SqueezeNet.

Sources: arXiv 1409.1556 (table 1, configurations D and E), 1602.07360 (table 1), and the
README of SqueezeNet 1.1.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.simulation.architectures.architecture import Architecture, Body, at_side
from harness.simulation.architectures.builder import Builder
from harness.simulation.architectures.naming import Name

#: Convolutions per block.
_VGG = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}


def _vgg(depth: int) -> Body:
    def body(b: Builder) -> Sequence[int]:
        x = b.input
        for number, count in enumerate(_VGG[depth]):
            for _ in range(count):
                x = b.conv(x, min(512, 64 * 2**number), 3, act="relu")
            x = b.pool(x, "max", 2, 2, "valid")
        x = b.reshape(x, (1, -1))
        for _ in range(2):
            x = b.dense(x, 4096, "relu")
        return [b.softmax(b.dense(x, 1000))]

    return body


#: Squeezed and expanded filters of the fire modules.
_FIRES = ((16, 64), (16, 64), (32, 128), (32, 128), (48, 192), (48, 192), (64, 256), (64, 256))


def _squeezenet(minor: int) -> Body:
    def body(b: Builder) -> Sequence[int]:
        if minor == 1:
            x = b.conv(b.input, 64, 3, 2, "relu", "valid")
        else:
            x = b.conv(b.input, 96, 7, 2, "relu", "valid")
        x = b.pool(x, "max", 3, 2, "valid")
        pools = (1, 3) if minor == 1 else (2, 6)
        for number, (squeezed, expanded) in enumerate(_FIRES):
            x = b.conv(x, squeezed, act="relu")
            sides = [b.conv(x, expanded, size, act="relu") for size in (1, 3)]
            x = b.concat(sides)
            if number in pools:
                x = b.pool(x, "max", 3, 2, "valid")
        x = b.global_pool(b.conv(x, 1000, act="relu"))
        return [b.softmax(b.reshape(x, (1, 1000)))]

    return body


def find(name: Name) -> Architecture | None:
    """``vgg16``, ``vgg_19``, ``squeezenet``, ``squeezenet_1.1``, ..."""
    numbers = list(name.numbers)
    if name.words in ("vgg", "vggnet") and numbers and numbers[0] in map(str, _VGG):
        depth = int(numbers.pop(0))
        return at_side(f"vgg{depth}", "vgg", _vgg(depth), numbers, 224)
    if name.words in ("squeezenet", "squeezenetv1"):
        minor = 0
        for number, value in (("1.0", 0), ("1.1", 1)):
            if number in numbers:
                numbers.remove(number)
                minor = value
        if numbers[:2] in (["1", "0"], ["1", "1"]):
            minor = int(numbers[1])
            numbers = numbers[2:]
        if name.words == "squeezenetv1" and numbers[:1] in (["0"], ["1"]):
            minor = int(numbers.pop(0))
        # The published file takes 224; the README's count of version 1.1 is made at 227.
        return at_side(f"squeezenet_1.{minor}", "squeezenet", _squeezenet(minor), numbers, 224)
    return None


NAMES = ("vgg11", "vgg13", "vgg16", "vgg19", "squeezenet_1.0", "squeezenet_1.1")
