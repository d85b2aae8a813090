"""What the benchmarks share."""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

MODELS = ("ic_resnet8_float", "ic_resnet8_int8", "vww_96_float", "vww_96_int8")


@dataclass(frozen=True)
class Line:
    """A result: a value or ratio, its range over rounds, and the bounds it should keep."""

    what: str
    values: tuple[float, ...]
    low: float
    high: float
    unit: str = ""

    @property
    def value(self) -> float:
        """The median over rounds."""
        return statistics.median(self.values)

    @property
    def within(self) -> bool:
        """Whether it keeps its bounds."""
        return self.low <= self.value <= self.high

    def __str__(self) -> str:
        bound = f"{self.low:g} to {self.high:g}" if self.low else f"at most {self.high:g}"
        verdict = "ok" if self.within else "OUTSIDE"
        spread = f"({min(self.values):.3f} to {max(self.values):.3f}, n={len(self.values)})"
        return f"  {self.what:<44} {self.value:7.3f}{self.unit} {spread}  wanted {bound}: {verdict}"


def shared() -> Path:
    """The folder of real models and data."""
    folder = Path(os.environ.get("HARNESS_SHARED") or ROOT.parent / "shared")
    if not (folder / "models" / "mlperf_tiny").is_dir():
        sys.exit(f"no real models at {folder}: set HARNESS_SHARED")
    return folder


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, ...]:
    """Round by round: what drifts, drifts for both."""
    return tuple(a / b for a, b in zip(ours, theirs, strict=True))
