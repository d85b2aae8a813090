"""Two profiles, operator by operator."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.metrics.profile.align import align
from harness.metrics.profile.record import Profile, ProfiledOperator

#: What converters and quantizers put behind the name of a tensor that they made anew.
_ADDED = re.compile(r"(_(int8|uint8|int16|quantized|requantized|dequantize[d]?))+$")

#: What a pair weighs: of one type; with the same output; of the same shape. An operator under
#: another name is no other operator as long as it is at the same place among its like.
_TYPE, _NAME, _SHAPE = 4, 8, 2


@dataclass(frozen=True, slots=True)
class Pair:
    """One operator on both sides, or on one (the other is ``None``)."""

    base: ProfiledOperator | None
    head: ProfiledOperator | None

    @property
    def shown(self) -> ProfiledOperator:
        """The side that there is; the base where there are both."""
        found = self.base or self.head
        assert found is not None
        return found

    @property
    def difference_ns(self) -> float | None:
        """Head less base; what one side lacks takes nothing there. ``None`` without times."""
        times = [0.0 if side is None else side.time_ns for side in (self.base, self.head)]
        return None if times[0] is None or times[1] is None else times[1] - times[0]

    @property
    def ratio(self) -> float | None:
        """Head over base; ``None`` where a side lacks it, or its time is 0 or unknown."""
        if self.base is None or self.head is None or not self.base.time_ns:
            return None
        return None if self.head.time_ns is None else self.head.time_ns / self.base.time_ns


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every operator of both, the largest difference first; profiles as they were."""

    base: Profile
    head: Profile
    pairs: tuple[Pair, ...]

    @property
    def difference_ns(self) -> float | None:
        """Of the sums of all operators, head less base."""
        if self.base.sum_ns is None or self.head.sum_ns is None:
            return None
        return self.head.sum_ns - self.base.sum_ns


def compare(base: Profile, head: Profile) -> Comparison:
    """Align by order, type, output name and shape, so that inserted operators have no partner.

    Of what a profile keeps only in its totals, nothing is compared (``Profile.left_out``).
    """
    first, second = base.operators, head.operators
    names, shapes, types = (
        _numbered([key(item) for item in (*first, *second)])
        for key in (output_key, lambda item: item.shape, lambda item: item.type)
    )
    count = len(first)
    unnamed = {
        number
        for number, item in zip(names, (*first, *second), strict=True)
        if not output_key(item)
    }

    def weights(index: int) -> NDArray[np.int64]:
        same_name = (names[count:] == names[index]) & (names[index] not in unnamed)
        found = (_TYPE + _NAME * same_name + _SHAPE * (shapes[count:] == shapes[index])) * (
            types[count:] == types[index]
        )
        return np.asarray(found, np.int64)

    partners = [other for other, _ in align(count, len(second), weights)]
    pairs = [
        Pair(item, None if other is None else second[other])
        for item, other in zip(first, partners, strict=True)
    ]
    taken = {other for other in partners if other is not None}
    pairs += [Pair(None, item) for index, item in enumerate(second) if index not in taken]
    pairs.sort(key=lambda pair: (-abs(pair.difference_ns or 0.0), pair.shown.place))
    return Comparison(base, head, tuple(pairs))


def output_key(operator: ProfiledOperator) -> str:
    """What stays of an output's name from one recipe to another.

    A converter names a fused operator after all that it fused, first what made the output, last
    a number that only makes the name unique.
    """
    return _ADDED.sub("", operator.output.split(";", 1)[0])


def _numbered(items: Sequence[object]) -> NDArray[np.int64]:
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(item, len(numbers)) for item in items], np.int64)
