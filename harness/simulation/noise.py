"""Latency samples with a known truth, in the shapes that devices show.

What proves the statistics: an interval is right if it holds the truth as often as it says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]

#: (rng, trials, samples) -> latencies of a median of 1 as (trials, samples).
Shape = Callable[[np.random.Generator, int, int], Floats]


@dataclass(frozen=True, slots=True)
class Noise:
    """One shape: ``draw`` and what it is like. The median over processes of medians is 1."""

    draw: Shape
    about: str


def _between(rng: np.random.Generator, trials: int, spread: float) -> Floats:
    return np.exp(rng.normal(0, spread, (trials, 1)))


def _lognormal(rng: np.random.Generator, trials: int, samples: int) -> Floats:
    found: Floats = np.exp(rng.normal(0, 0.1, (trials, samples)))
    return found


def _autocorrelated(rng: np.random.Generator, trials: int, samples: int) -> Floats:
    """AR(1) with coefficient 0.9: each sample remembers about the ten before it."""
    from scipy.signal import lfilter

    start = 100
    raw = rng.normal(0, 0.03, (trials, samples + start))
    found: Floats = np.exp(lfilter([1.0], [1.0, -0.9], raw, axis=1)[:, start:])
    return found


def _two_modes(rng: np.random.Generator, trials: int, samples: int) -> Floats:
    """30 % of the samples are slower by 15 %, as on a core that others use now and then."""
    slow = rng.random((trials, samples)) < 0.3
    raw = np.where(slow, 1.15, 1.0) * np.exp(rng.normal(0, 0.02, (trials, samples)))
    found: Floats = raw / _MIXED * _between(rng, trials, 0.005)
    return found


def _drift(rng: np.random.Generator, trials: int, samples: int) -> Floats:
    """Every trial becomes slower by 5 % from its begin to its end."""
    ramp = np.linspace(-0.025, 0.025, samples)
    raw = np.exp(ramp + rng.normal(0, 0.02, (trials, samples)))
    found: Floats = raw * _between(rng, trials, 0.005)
    return found


def _between_trials(rng: np.random.Generator, trials: int, samples: int) -> Floats:
    """Processes differ by 2 %, far more than the samples of one leave open."""
    raw = np.exp(rng.normal(0, 0.03, (trials, samples)))
    found: Floats = raw * _between(rng, trials, 0.02)
    return found


def _odd_trials(rng: np.random.Generator, trials: int, samples: int) -> Floats:
    """Processes differ by 1 %, and now and then one by far more (Student's t of 3)."""
    raw = np.exp(rng.normal(0, 0.03, (trials, samples)))
    found: Floats = raw * np.exp(0.01 * rng.standard_t(3, (trials, 1)))
    return found


def _mixed_median() -> float:
    """The median of the mixture of ``_two_modes``, by bisection of its distribution."""
    low, high = 0.9, 1.2
    for _ in range(60):
        middle = (low + high) / 2
        below = 0.7 * ndtr(np.log(middle) / 0.02) + 0.3 * ndtr(np.log(middle / 1.15) / 0.02)
        low, high = (middle, high) if below < 0.5 else (low, middle)
    return low


_MIXED = _mixed_median()

#: Every shape by name.
SHAPES: dict[str, Noise] = {
    "log-normal": Noise(_lognormal, "10 % within a trial, none between trials"),
    "autocorrelated": Noise(_autocorrelated, "AR(1) with 0.9 within a trial"),
    "two modes": Noise(_two_modes, "30 % of the samples slower by 15 %"),
    "drift": Noise(_drift, "slower by 5 % from the begin of a trial to its end"),
    "between trials": Noise(_between_trials, "processes differ by 2 %"),
    "odd trials": Noise(_odd_trials, "processes differ by 1 %, some by far more"),
}
