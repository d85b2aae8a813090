"""How far a predicted latency may be from the measured one.

A spread is the half-width of the 90 % interval in logarithms: the truth is between
``latency / exp(spread)`` and ``latency * exp(spread)``. It is what ``harness calibrate`` found
with each model left out in turn, so that it holds for models that the fit has not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, sqrt

import numpy as np

from harness.simulation.prediction.hardware import Hardware

#: Share of truths that an interval is meant to hold.
COVERAGE = 0.9

#: Before anything was measured: a factor of 2.
UNKNOWN = 0.69

#: What a device adds that was put together from its cores alone, never measured: what a
#: published board's speed differs by from that of its cores' clock (assumed).
_GENERIC = 0.35


def place_of(accelerator: str) -> str:
    """The name under which the spread of a backend stands."""
    return "cpu" if accelerator in ("cpu", "xnnpack") else accelerator


def interval(
    latency: float, hardware: Hardware, accelerator: str, spreads: Mapping[str, float]
) -> tuple[float, float]:
    """Low and high, in the unit of ``latency``."""
    place = place_of(accelerator)
    spread = spreads.get(f"{place}.{hardware.family}", spreads.get(place, UNKNOWN))
    if not hardware.calibrated:
        spread = sqrt(spread**2 + _GENERIC**2)
    return latency / exp(spread), latency * exp(spread)


def few(models: int) -> float:
    """By how much intervals are wider for being of so few models: Student's t over the normal.

    All rows of a model err alike, so it is models that count, of which the spread is known from a
    handful. Fewer than three are taken for three.
    """
    from scipy.special import ndtri, stdtrit  # takes longer to import than all the rest

    half = (1 + COVERAGE) / 2
    return float(stdtrit(max(models, 3) - 1, half) / ndtri(half))


def spread_of(
    residuals: Sequence[float], prior: float, models: int | None = None, weight: float = 4.0
) -> float:
    """The 90 % quantile of residuals (logarithms of truth over prediction), by size.

    They are of so many ``models`` (each of its own by default). Few are held to ``prior``, which
    counts as much as ``weight`` models.
    """
    if not len(residuals):
        return prior
    count = len(residuals) if models is None else models
    sizes = np.abs(np.asarray(residuals, dtype=float))
    # The (n + 1)-th part, as for conformal intervals (V. Vovk et al., 2005).
    rank = min(1.0, COVERAGE * (len(sizes) + 1) / len(sizes))
    own = float(np.quantile(sizes, rank))
    return (own * count + prior * weight) / (count + weight)
