"""Numbers as people read them."""

from __future__ import annotations

import math
from typing import Any


def significant(value: float | None, digits: int = 3) -> str:
    """``value`` with this many significant digits and no exponent; ``-`` for none."""
    if value is None or not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{decimals}f}"


def size(value: float | None) -> str:
    """Bytes as kB or MB (powers of ten)."""
    if value is None:
        return "-"
    return f"{value / 1e6:.2f} MB" if value >= 1e6 else f"{value / 1e3:.1f} kB"


def ratio(value: float | None) -> str:
    """``0.27x``."""
    return "-" if value is None else f"{significant(value, 3 if value >= 0.1 else 2)}x"


def accuracy(row: dict[str, Any]) -> str:
    """Per cent with half of the 95 % interval: ``97.5 ±1.2``."""
    if row["accuracy"] is None:
        return "-"
    half = (row["accuracy_high"] - row["accuracy_low"]) / 2
    return f"{row['accuracy'] * 100:.2f} ±{half * 100:.1f}"


def percent(value: float | None) -> str:
    """A share as ``97.52 %``."""
    return "-" if value is None else f"{value * 100:.2f} %"


def points(value: float | None) -> str:
    """A difference of shares in percentage points, signed."""
    return "-" if value is None else f"{value * 100:+.2f}"


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """Size, ratio, accuracy, difference, median, p95, speed-up and memory of a row."""
    return (
        size(row["size_bytes"]),
        ratio(row["size_ratio"]),
        accuracy(row),
        points(row["accuracy_delta"]),
        latency(row),
        significant(row["latency_p95_ms"]),
        ratio(row["speed_up"]),
        significant(row["memory_peak_mb"]),
    )


def latency(row: dict[str, Any]) -> str:
    """Median in ms with half of the 95 % interval in per cent: ``0.0352 ±0.6%``."""
    median = row["latency_median_ms"]
    if median is None:
        return "-"
    if row["latency_low_ms"] is None:
        return f"{significant(median)} ±?"
    half = (row["latency_high_ms"] - row["latency_low_ms"]) / 2 / median * 100 if median else 0
    return f"{significant(median)} ±{half:.2g}%" if half < 100 else f"{significant(median)} ±>99%"
