"""Fitting the model's parameters to latencies.

Least squares over logarithms (R. Fletcher's modification of Marquardt, in scipy's
``least_squares``): of the ratio of truth to prediction, with a pseudo-Huber loss, so that one
odd row does not bend the rest; and of each parameter to its prior, within its bounds. Without
chance: the same rows give the same parameters.

It is hierarchical by what the names say: kernels are shared by all, factors of a core by its
devices, those of a device are its own and held closest. So a device of few rows has what others
tell of its cores and kernels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from harness.calibration.cases import Case
from harness.simulation.prediction import Parameters, prior_of
from harness.simulation.prediction.predicting import seconds

Numbers = NDArray[np.float64]

#: Standard deviation of the logarithm of a row that the model can explain: 10 %.
NOISE = 0.1

_STEP = 1e-4


@dataclass(frozen=True, slots=True)
class Fit:
    """Parameters, and the logarithms of truth over prediction of the rows they are from."""

    values: Mapping[str, float]
    residuals: tuple[float, ...]


class _Recording(Parameters):
    """Notes which parameters a prediction reads."""

    def __init__(self, values: Mapping[str, float]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def __call__(self, name: str) -> float:
        self.read.add(name)
        return super().__call__(name)


def predicted_seconds(case: Case, parameters: Parameters) -> float:
    """The predicted latency of a case, in seconds."""
    assert case.prepared is not None and case.setting is not None
    setting = case.setting
    case.prepared.check()
    taken, overhead, _ = seconds(
        case.prepared, setting.hardware, setting.backend, setting.runtime, parameters
    )
    return float(taken.sum()) + overhead


def fit(
    cases: Sequence[Case],
    start: Mapping[str, float] | None = None,
    *,
    free: Collection[str] | None = None,
    loosen: float = 1.0,
    steps: int = 40,
) -> Fit:
    """Parameters for these rows, all of which can be predicted.

    ``start`` where to begin; ``free`` only these parameters, the others stay as in ``start``;
    ``loosen`` how many times wider their priors are than usual.
    """
    begin = dict(start or {})
    recorders = []
    for case in cases:
        recorder = _Recording(begin)
        predicted_seconds(case, recorder)
        recorders.append(recorder.read)
    names = sorted(set().union(*recorders) if recorders else set())
    if free is not None:
        names = [name for name in names if name in free]
    if not names:
        return Fit(begin, _residuals(cases, Parameters(begin)))
    priors = [prior_of(name) for name in names]
    middle = np.array([log(prior.value) for prior in priors])
    sigma = np.array([prior.sigma * loosen for prior in priors])
    low = np.array([log(prior.low) for prior in priors])
    high = np.array([log(prior.high) for prior in priors])
    touched = [[row for row, read in enumerate(recorders) if name in read] for name in names]
    truth = np.array([log(case.published.published_ms or 1.0) - log(1e3) for case in cases])

    def parameters(x: Numbers) -> Parameters:
        return Parameters({**begin, **{n: exp(v) for n, v in zip(names, x, strict=True)}})

    def rows(x: Numbers) -> Numbers:
        now = parameters(x)
        off: Numbers = truth - np.array([log(predicted_seconds(case, now)) for case in cases])
        return off

    def residuals(x: Numbers) -> Numbers:
        return np.concatenate([_robust(rows(x) / NOISE), (x - middle) / sigma])

    def jacobian(x: Numbers) -> Numbers:
        here = rows(x)
        matrix = np.zeros((len(cases) + len(names), len(names)))
        for column, name in enumerate(names):
            moved = parameters(x).values
            moved[name] = exp(x[column] + _STEP)
            shifted = Parameters(moved)
            for row in touched[column]:
                there = truth[row] - log(predicted_seconds(cases[row], shifted))
                matrix[row, column] = (there - here[row]) / _STEP
        matrix[: len(cases)] *= (_slope(here / NOISE) / NOISE)[:, None]
        matrix[len(cases) :] = np.diag(1 / sigma)
        return matrix

    x = np.clip(
        np.array([log(begin.get(n, p.value)) for n, p in zip(names, priors, strict=True)]),
        low + 1e-6, high - 1e-6,
    )  # fmt: skip
    found = least_squares(
        residuals, x, jac=jacobian, bounds=(low, high), max_nfev=steps, xtol=1e-3, ftol=1e-4
    )
    values = {**begin, **{n: exp(v) for n, v in zip(names, found.x, strict=True)}}
    return Fit(values, tuple(float(each) for each in rows(found.x)))


def _robust(z: Numbers) -> Numbers:
    """Residuals whose squares are the pseudo-Huber loss: quadratic to 2, then linear."""
    root: Numbers = np.sign(z) * np.sqrt(2 * 4.0 * (np.sqrt(1 + z * z / 4.0) - 1))
    return root


def _slope(z: Numbers) -> Numbers:
    """The derivative of ``_robust``."""
    inner = np.sqrt(1 + z * z / 4.0)
    value = np.abs(_robust(z))
    slope: Numbers = np.where(value > 1e-9, np.abs(z) / inner / np.maximum(value, 1e-9), 1.0)
    return slope


def _residuals(cases: Sequence[Case], parameters: Parameters) -> tuple[float, ...]:
    return tuple(
        log((case.published.published_ms or 1.0) / 1e3) - log(predicted_seconds(case, parameters))
        for case in cases
    )
