"""DenseNet 121, 169, 201 and 161.

Source: arXiv 1608.06993 (table 1). The normalisation before a ReLU follows a concatenation,
not a convolution: it stays as MUL and ADD.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.simulation.architectures.architecture import Architecture, Body, at_side
from harness.simulation.architectures.builder import Builder
from harness.simulation.architectures.mobilenet import mean_classify
from harness.simulation.architectures.naming import Name

#: Layers per block, growth, filters of the stem.
_FORMS = {
    121: ((6, 12, 24, 16), 32, 64),
    161: ((6, 12, 36, 24), 48, 96),
    169: ((6, 12, 32, 32), 32, 64),
    201: ((6, 12, 48, 32), 32, 64),
}


def _normalised(b: Builder, x: int) -> int:
    return b.scale(b.scale(x), "ADD", "relu")


def _body(depth: int) -> Body:
    blocks, growth, stem = _FORMS[depth]

    def body(b: Builder) -> Sequence[int]:
        x = b.conv(b.pad(b.input, 3, 3), stem, 7, 2, "relu", "valid")
        x = b.pool(b.pad(x, 1, 1), "max", 3, 2, "valid")
        for number, layers in enumerate(blocks):
            if number:
                x = b.conv(_normalised(b, x), b.channels(x) // 2)
                x = b.pool(x, "average", 2, 2, "valid")
            for _ in range(layers):
                y = b.conv(_normalised(b, x), 4 * growth, act="relu")
                x = b.concat([x, b.conv(y, growth, 3)])
        return mean_classify(b, _normalised(b, x))

    return body


def find(name: Name) -> Architecture | None:
    """``densenet`` (121), ``densenet_169``, ..."""
    if name.words != "densenet":
        return None
    numbers = list(name.numbers)
    written = next((n for n in numbers if n.isdigit() and int(n) in _FORMS), "")
    if written:
        numbers.remove(written)
    depth = int(written or 121)
    return at_side(f"densenet_{depth}", "densenet", _body(depth), numbers, 224)


NAMES = tuple(f"densenet_{depth}" for depth in _FORMS)
