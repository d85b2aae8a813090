"""NASNet-A, mobile and large.

Source: arXiv 1707.07012 (figure 4, appendix A). Every separable convolution is two of them,
each behind a ReLU; a ReLU that several layers share is an operator of its own, one behind a
single convolution is fused into it.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.simulation.architectures.architecture import Architecture, Body, at_side
from harness.simulation.architectures.builder import Builder
from harness.simulation.architectures.naming import Name

#: Filters before the last layer, cells per stage, filters of the stem, how the stages grow,
#: whether the cell before a reduction is skipped, resolution.
_FORMS = {
    "mobile": (1056, 4, 32, 2, False, 224),
    "large": (4032, 6, 96, 2, True, 331),
}


class _Cells:
    """Cells over one builder; a ReLU of a tensor is made once."""

    def __init__(self, b: Builder) -> None:
        self.b = b
        self._relus: dict[int, int] = {}

    def relu(self, x: int) -> int:
        if x not in self._relus:
            self._relus[x] = self.b.unary("RELU", x)
        return self._relus[x]

    def separable(self, x: int, filters: int, kernel: int, stride: int = 1) -> int:
        x = self.b.separable(self.relu(x), filters, kernel, stride, act="relu")
        return self.b.separable(x, filters, kernel)

    def adjusted(self, x: int, like: int, filters: int) -> int:
        """The output of the cell before the last, with the extents and filters of the last."""
        b = self.b
        if b.shape(x)[1:3] != b.shape(like)[1:3]:
            x = self.relu(x)
            straight = b.conv(b.pool(x, "average", 1, 2, "valid"), filters // 2)
            # The second path looks at the pixels between: padded, then cut.
            moved = b.crop(b.pad(x, 0, 1), 1)
            moved = b.conv(b.pool(moved, "average", 1, 2, "valid"), filters - filters // 2)
            return b.concat([straight, moved])
        if b.channels(x) != filters:
            return b.conv(self.relu(x), filters)
        return x

    def normal(self, x: int, before: int, filters: int) -> int:
        b = self.b
        p = self.adjusted(before, x, filters)
        h = b.conv(self.relu(x), filters)
        one = b.add(self.separable(h, filters, 5), self.separable(p, filters, 3))
        two = b.add(self.separable(p, filters, 5), self.separable(p, filters, 3))
        three = b.add(b.pool(h, "average", 3), p)
        pooled = b.pool(p, "average", 3)
        four = b.add(pooled, pooled)
        five = b.add(self.separable(h, filters, 3), h)
        return b.concat([p, one, two, three, four, five])

    def reduction(self, x: int, before: int | None, filters: int) -> int:
        b = self.b
        p = x if before is None else self.adjusted(before, x, filters)
        h = b.conv(self.relu(x), filters)
        one = b.add(self.separable(h, filters, 5, 2), self.separable(p, filters, 7, 2))
        largest = b.pool(h, "max", 3, 2)
        two = b.add(largest, self.separable(p, filters, 7, 2))
        three = b.add(b.pool(h, "average", 3, 2), self.separable(p, filters, 5, 2))
        four = b.add(two, b.pool(one, "average", 3))
        five = b.add(self.separable(one, filters, 3), largest)
        return b.concat([two, three, four, five])


def _body(form: str) -> Body:
    penultimate, cells, stem, growth, skips, _ = _FORMS[form]

    def body(b: Builder) -> Sequence[int]:
        net, filters = _Cells(b), penultimate // 24
        x: int = b.conv(b.input, stem, 3, 2, padding="valid")
        before: int | None = None
        for divisor in (growth**2, growth):
            x, before = net.reduction(x, before, filters // divisor), x
        for stage in range(3):
            if stage:
                reduced = net.reduction(x, before, filters * growth**stage)
                # Without skipping, the next cell's other input is the one before the reduction.
                x, before = reduced, before if skips else x
            for _ in range(cells):
                assert before is not None
                x, before = net.normal(x, before, filters * growth**stage), x
        x = b.mean(net.relu(x))
        return [b.softmax(b.dense(x, 1001))]

    return body


def find(name: Name) -> Architecture | None:
    """``nasnet_mobile`` and ``nasnet_large``."""
    words = name.words.replace("nasneta", "nasnet")
    for form, (*_, side) in _FORMS.items():
        if words in (f"nasnet{form}", f"{form}nasnet") or (words == "nasnet" and form == "mobile"):
            return at_side(f"nasnet_{form}", "nasnet", _body(form), name.numbers, side)
    return None


NAMES = tuple(f"nasnet_{form}" for form in _FORMS)
