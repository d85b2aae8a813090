"""Energy of one inference: what load takes above rest, over the inferences that ran.

    net = (mean load power - mean idle power) * time / inferences

and ``gross`` without the subtraction. The interval follows the Guide to the Expression of
Uncertainty in Measurement (JCGM 100:2008): the meter's stated accuracy ``a`` bounds the error of
each mean, taken as rectangular (4.3.7), so ``a * P / sqrt(3)``; the scatter of readings adds ``s
/ sqrt(n)`` (4.2.3), where readings that repeat the one before count once, since many gauges
answer more often than they measure. The errors of both means are added as if independent (5.1.2),
which for an error of gain is too wide rather than too narrow; times 2, for about 95 % (6.2).
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from harness.domain import Advisory, AdvisoryKind, Direction, Measurement
from harness.metrics.observations import Observations

#: Coverage factor of a 95 % interval.
_COVERAGE = 2.0


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """``energy`` and ``energy_gross`` (mJ), ``power_idle`` and ``power_load`` (W)."""
    trials = observations.passes.get("energy", ())
    if not trials:
        return ()
    phases, facts = trials[-1].phases, trials[-1].facts
    idle, load = (phases.get(name, np.empty(0)) / 1e6 for name in ("idle_power", "load_power"))
    runs = int(phases.get("runs", np.empty(0)).sum())
    seconds = float(phases.get("interval", np.empty(0)).sum()) / 1e9
    if not len(idle) or not len(load) or not runs or not seconds:
        return ()
    accuracy = float((facts.get("power_meter") or {}).get("accuracy_percent") or 0) / 100
    (idle_w, idle_u), (load_w, load_u) = (_mean(values, accuracy) for values in (idle, load))
    each = seconds / runs * 1e3
    lower = Direction.LOWER

    def found(name: str, value: float, uncertainty: float, unit: str, n: int) -> Measurement:
        half = _COVERAGE * uncertainty
        return Measurement(name, value, unit, lower, n, value - half, value + half)

    net = (load_w - idle_w) * each
    return (
        found("energy", net, sqrt(idle_u**2 + load_u**2) * each, "mJ", runs),
        found("energy_gross", load_w * each, load_u * each, "mJ", runs),
        found("power_idle", idle_w, idle_u, "W", len(idle)),
        found("power_load", load_w, load_u, "W", len(load)),
    )


def _mean(values: NDArray[np.float64], accuracy: float) -> tuple[float, float]:
    """Mean and its standard uncertainty."""
    mean = float(values.mean())
    fresh = 1 + int(np.count_nonzero(np.diff(values)))
    scatter = float(values.std(ddof=1)) / sqrt(fresh) if fresh > 1 else 0.0
    return mean, sqrt((accuracy * mean) ** 2 / 3 + scatter**2)


def unknown(observations: Observations) -> Iterator[Advisory]:
    """Why an energy that was asked for is missing, or no different from nothing."""
    trials = observations.passes.get("energy", ())
    if trials and (why := trials[-1].facts.get("unsupported")):
        yield Advisory(AdvisoryKind.ENERGY_UNKNOWN, str(why))
        return
    net = next((item for item in measure(observations) if item.name == "energy"), None)
    if net is not None and net.low is not None and net.low <= 0:
        yield Advisory(
            AdvisoryKind.ENERGY_UNKNOWN,
            f"{net.value:.3g} mJ with an interval from {net.low:.3g} to {net.high:.3g}: load "
            "takes no more than rest, as far as this meter can tell",
        )
