"""Evidence in words: short, with units, and with no more digits than what it tells is worth.

Reports put jobs of equal evidence together, so that needless digits make needless lines.
"""

from __future__ import annotations


def percent(ratio: float) -> str:
    """``12 %`` for 1.123 and for its inverse direction 0.88."""
    return f"{abs(ratio - 1) * 100:.0f} %"


def rose(ratio: float) -> str:
    """Whether something rose or fell."""
    return "rose" if ratio > 1 else "fell"


def seconds(value: float) -> str:
    """Seconds to two digits: ``0.25``, ``4``, ``120``."""
    return f"{float(f'{value:.2g}'):g}"


def mhz(value: float) -> str:
    """A frequency to two digits, in MHz below 1000 and else in GHz: ``600 MHz``, ``1.5 GHz``."""
    return f"{value / 1000:.1f} GHz" if value >= 995 else f"{float(f'{value:.2g}'):g} MHz"


def ns(value: float) -> str:
    """A duration to three digits in the unit that fits it: ``40 ns``, ``1.23 ms``."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if value >= size:
            return f"{float(f'{value / size:.3g}'):g} {unit}"
    return f"{float(f'{value:.3g}'):g} ns"


def some(count: int, total: int) -> str:
    """``2 of 5 trials``."""
    return f"{count} of {total} trials" if total != 1 else "the trial"
