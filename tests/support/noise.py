"""Seeded latency jobs as devices make them: clean ones, and ones that something disturbs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.domain import Policy
from harness.metrics import Observations, TrialObservation

#: (trial, seconds since its first sample, generator) -> factors of that trial's samples.
Disturbance = Callable[[int, NDArray[np.float64], np.random.Generator], Any]


@dataclass(frozen=True)
class Shape:
    """What the noise of a device looks like.

    A sample is a floor plus a log-normal part (``spread`` of the median, ``skew`` the sigma of
    its logarithm), which an autoregression of first order (``alike``) makes; one in 200 is an
    outlier of up to 5 times the median. Trials differ by ``between`` (sigma). What is timed is read
    off a clock of ``resolution_ns``.
    """

    median_ns: float = 1e6
    runs: int = 200
    trials: int = 5
    spread: float = 0.01
    skew: float = 0.7
    alike: float = 0.3
    between: float = 0.015
    resolution_ns: int = 1
    outliers: float = 1 / 200


def drawn(rng: np.random.Generator, most_runs: int = 100_000) -> Shape:
    """A shape of the kinds that there are, with the runs that the default Policy gives it."""
    median = float(np.exp(rng.uniform(np.log(20e3), np.log(200e6))))
    return Shape(
        median_ns=median,
        runs=int(min(max(50, 1e9 / median), most_runs)),
        trials=int(rng.choice([3, 5, 5, 5, 10, 25])),
        spread=float(rng.uniform(0.002, 0.04)),
        skew=float(rng.uniform(0.3, 1.0)),
        alike=float(rng.uniform(0, 0.9)),
        between=float(rng.uniform(0.01, 0.02)),
        resolution_ns=int(rng.choice([1, 10, 40, 52, 100])),
    )


def durations(
    rng: np.random.Generator,
    shape: Shape,
    disturb: Callable[[NDArray[np.float64]], Any] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``(at, values)`` of the measured runs of one trial, ns."""
    from scipy.signal import lfilter

    innovations = rng.normal(size=shape.runs)
    innovations[1:] *= np.sqrt(1 - shape.alike**2)
    wave = lfilter([1.0], [1.0, -shape.alike], innovations)
    factors = 1 + shape.spread * (np.exp(shape.skew * wave) - 1)
    factors *= np.exp(rng.normal(0, shape.between))
    far = rng.random(shape.runs) < shape.outliers
    factors[far] *= rng.uniform(1.2, 5, int(far.sum()))
    values = shape.median_ns * factors
    if disturb is not None:
        values = values * disturb((np.cumsum(values) - values[0]) / 1e9)
    stops = np.cumsum(values + 200) + rng.uniform(0, 1e6)
    step = shape.resolution_ns
    starts = stops - values
    read = (np.floor(stops / step) - np.floor(starts / step)) * step
    return (starts // step * step).astype(np.int64), np.maximum(read, step).astype(np.int64)


def conditions(
    rng: np.random.Generator, at: NDArray[np.int64], values: NDArray[np.int64], boot: float
) -> dict[str, dict[str, Any]]:
    """What a quiet device of four processors tells before and after a trial."""
    begin, end = int(at[0]) - 1000, int(at[-1] + values[-1]) + 1000
    seconds = (end - begin) / 1e9
    mhz = float(rng.normal(1500, 5))
    celsius = float(rng.uniform(40, 65))
    others = float(rng.uniform(0, 0.1)) * seconds
    shared = {"frequency_max_mhz": 1500.0, "processors": 4}
    return {
        "before": {"at": begin, "busy_s": round(boot, 2), "own_s": 0.5, "frequency_mhz": mhz,
                   "temperature_c": celsius, "involuntary_switches": 3, **shared},
        "after": {"at": end, "busy_s": round(boot + seconds + others, 2), "own_s": 0.5 + seconds,
                  "frequency_mhz": mhz + float(rng.normal(0, 5)), "involuntary_switches": 5,
                  "temperature_c": celsius + float(rng.uniform(0, 8)), **shared},
    }  # fmt: skip


def job(
    seed: int,
    shape: Shape,
    disturb: Disturbance | None = None,
    facts: Callable[[int, dict[str, Any]], None] | None = None,
    **more: Any,
) -> Observations:
    """A job of that shape; ``disturb`` slows samples, ``facts`` changes a trial's conditions."""
    rng = np.random.default_rng(seed)
    trials = []
    for index in range(shape.trials):

        def factors(seconds: NDArray[np.float64], index: int = index) -> Any:
            return 1.0 if disturb is None else disturb(index, seconds, rng)

        at, values = durations(rng, shape, factors)
        told = conditions(rng, at, values, 1000.0 + 100 * index)
        if facts is not None:
            facts(index, told)
        trials.append(TrialObservation({"measure": values}, {"conditions": told}, {"measure": at}))
    defaults: Mapping[str, Any] = {"clock_resolution_ns": float(shape.resolution_ns)}
    return Observations(Policy(), 1000, trials=tuple(trials), **{**defaults, **more})


def clean(seed: int, most_runs: int = 100_000, **fixed: Any) -> Observations:
    """A job of a device that nothing disturbs, of a shape drawn by ``seed``."""
    shape = drawn(np.random.default_rng([seed, 1]), most_runs)
    return job(seed, dataclasses.replace(shape, **fixed))
