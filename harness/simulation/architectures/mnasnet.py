"""MnasNet A1, B1 and small.

Sources: arXiv 1807.11626 (figure 7) and the README and parameters of the published
checkpoints. The files that were published as ``mnasnet_WIDTH_SIDE`` are of the B1 kind, by
their sizes; A1 and small squeeze and excite with a sigmoid.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.simulation.architectures.architecture import Architecture, Body
from harness.simulation.architectures.builder import Builder, rounded
from harness.simulation.architectures.naming import Name, decimal, side_text, sizes

#: Repeats, window, stride, expansion, filters, squeeze-and-excite.
_STAGES = {
    "a1": (
        (1, 3, 1, 1, 16, False),
        (2, 3, 2, 6, 24, False),
        (3, 5, 2, 3, 40, True),
        (4, 3, 2, 6, 80, False),
        (2, 3, 1, 6, 112, True),
        (3, 5, 2, 6, 160, True),
        (1, 3, 1, 6, 320, False),
    ),
    "b1": (
        (1, 3, 1, 1, 16, False),
        (3, 3, 2, 3, 24, False),
        (3, 5, 2, 3, 40, False),
        (3, 5, 2, 6, 80, False),
        (2, 3, 1, 6, 96, False),
        (4, 5, 2, 6, 192, False),
        (1, 3, 1, 6, 320, False),
    ),
    "small": (
        (1, 3, 1, 1, 8, False),
        (1, 3, 2, 3, 16, False),
        (2, 3, 2, 6, 16, False),
        (4, 5, 2, 6, 32, True),
        (3, 3, 1, 6, 32, True),
        (3, 5, 2, 6, 88, True),
        (1, 3, 1, 6, 144, False),
    ),
}

_STEMS = {"a1": 32, "b1": 32, "small": 8}


def sigmoid_excite(b: Builder, x: int, squeezed: int, act: str = "relu") -> int:
    """Scales channels by a sigmoid gate; ``squeezed`` filters between."""
    gate = b.conv(b.mean(x, keep=True), squeezed, act=act)
    return b.mul(x, b.unary("LOGISTIC", b.conv(gate, b.channels(x))))


def _body(form: str, width: float) -> Body:
    def body(b: Builder) -> Sequence[int]:
        x = b.conv(b.input, rounded(_STEMS[form] * width), 3, 2, "relu")
        for repeats, kernel, first, expansion, filters, excite in _STAGES[form]:
            for repeat in range(repeats):
                source, count = x, b.channels(x)
                if expansion > 1:
                    x = b.conv(x, count * expansion, act="relu")
                x = b.depthwise(x, kernel, first if repeat == 0 else 1, "relu")
                if excite:
                    x = sigmoid_excite(b, x, max(1, count // 4))
                x = b.conv(x, rounded(filters * width))
                if b.shape(x) == b.shape(source):
                    x = b.add(x, source)
        # The head does not scale.
        x = b.conv(x, 1280, act="relu")
        return [b.softmax(b.dense(b.mean(x), 1000))]

    return body


def find(name: Name) -> Architecture | None:
    """``mnasnet_1.0_224``, ``mnasnet-a1``, ``mnasnet_b1``, ``mnasnet_small``."""
    words, numbers = name.words, list(name.numbers)
    if words in ("mnasneta", "mnasnetb") and numbers[:1] == ["1"]:
        words += numbers.pop(0)
    form = {"mnasnet": "b1", "mnasneta1": "a1", "mnasnetb1": "b1", "mnasnetsmall": "small"}.get(
        words
    )
    if form is None:
        return None
    found = sizes(numbers, width=1.0, side=224)
    if found is None:
        return None
    width, (rows, columns) = found
    stem = "mnasnet" if form == "b1" else f"mnasnet_{form}"
    return Architecture(
        f"{stem}_{decimal(width)}_{side_text(rows, columns)}",
        "mnasnet",
        (1, rows, columns, 3),
        _body(form, width),
    )


NAMES = (
    *(
        f"mnasnet_{decimal(width)}_{side}"
        for width in (0.5, 0.75, 1.0, 1.3)
        for side in (96, 128, 160, 192, 224)
    ),
    *(f"mnasnet_a1_{decimal(width)}_224" for width in (0.35, 0.5, 0.75, 1.0, 1.4)),
    "mnasnet_small_1.0_224",
)
