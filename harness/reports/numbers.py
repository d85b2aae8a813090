"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from harness.domain import DeviceKind, JobStatus
from harness.metrics import MAIN

#: Stands for the latency of an emulated device.
NOT_A_LATENCY = "emulated, not a latency"


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
    """The main metric with half of its 95 % interval.

    Shares and areas in per cent, ``97.5 ±1.2``; others as they are, ``10.3 ±2.1%`` of it.
    """
    value, low, high = row["metric_value"], row["metric_low"], row["metric_high"]
    if value is None:
        return "-"
    known = low is not None and high is not None
    if row["accuracy"] is not None:
        half = f"{(high - low) / 2 * 100:.1f}" if known else "?"
        return f"{value * 100:.2f} ±{half}"
    half = f"{(high - low) / 2 / value * 100:.2g}%" if known and value else "?"
    return f"{significant(value)} ±{half}"


def named_accuracy(row: dict[str, Any]) -> str:
    """``AUC 87.1 ±0.5``."""
    return f"{MAIN[row['metric']]} {accuracy(row)}" if row["metric"] else "-"


def heading(names: Iterable[str | None]) -> str:
    """What the column of the main metric is called, for rows of these metrics.

    ``top-1 %`` where nothing was measured or all is top-1; ``accuracy`` for a mixture.
    """
    known = list(dict.fromkeys(name for name in names if name)) or ["top1"]
    if len(known) > 1:
        return "accuracy"
    return MAIN[known[0]] + ("" if known[0] == "mse" else " %")


def difference(row: dict[str, Any]) -> str:
    """Against float32: points, or the ratio of errors."""
    ratio_ = row["metric_ratio"]
    return points(row["accuracy_delta"]) if ratio_ is None else ratio(ratio_)


def percent(value: float | None) -> str:
    """A share as ``97.52 %``."""
    return "-" if value is None else f"{value * 100:.2f} %"


def points(value: float | None) -> str:
    """A difference of shares in percentage points, signed."""
    return "-" if value is None else f"{value * 100:+.2f}"


def cells(row: dict[str, Any], *, named: bool = False, kind_said: bool = False) -> tuple[str, ...]:
    """Size, ratio, accuracy, difference, median, p95, speed-up and memory of a row.

    ``named``: the accuracy says of which metric it is. ``kind_said``: that a device is emulated
    stands above.
    """
    return (
        size(row["size_bytes"]),
        ratio(row["size_ratio"]),
        named_accuracy(row) if named else accuracy(row),
        difference(row),
        latency(row).removeprefix("emulated, ") if kind_said else latency(row),
        significant(row["latency_p95_ms"]),
        ratio(row["speed_up"]),
        significant(row["memory_peak_mb"]),
    )


def latency(row: dict[str, Any]) -> str:
    """Median in ms with half of the 95 % interval in per cent: ``0.0352 ±0.6%``."""
    median = row["latency_median_ms"]
    if row["kind"] == DeviceKind.EMULATED and row["status"] == JobStatus.OK:
        return NOT_A_LATENCY
    if median is None:
        return "-"
    if row["latency_low_ms"] is None:
        return f"{significant(median)} ±?"
    half = (row["latency_high_ms"] - row["latency_low_ms"]) / 2 / median * 100 if median else 0
    return f"{significant(median)} ±{half:.2g}%" if half < 100 else f"{significant(median)} ±>99%"
