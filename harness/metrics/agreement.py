"""How much of the float32 variant's answers a variant of the same model keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.domain import Direction, Measurement, Task
from harness.metrics.observations import Observations
from harness.stats import bootstrap_mean_interval, bootstrap_sums, wilson_interval
from harness.stats.memo import Memo, digest

#: Bootstraps take longest of all; equal rows give equal estimates.
_kept: Memo[tuple[Measurement, ...]] = Memo(256)

#: The columns of ``Observations.agreement``, one row per sample that was compared: whether
#: (or on which share of pixels) both name the same class; then sums over the output's real
#: values: product, own square, float32's square, square of the difference. NaN: no such thing.
COLUMNS = ("same", "product", "own", "float32", "difference")


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """``agreement_top1``, ``agreement_cosine`` and ``agreement_snr``, whichever make sense.

    The share of samples (of pixels in a segmentation) for which both variants name the same
    class: Wilson's interval. The mean over samples of the cosine between both outputs, and
    the ratio of float32's power to that of the difference in dB, 10 log10(sum of squares /
    sum of squared differences): bootstraps over samples. Outputs without any difference have
    no finite ratio, and so none is given.
    """
    rows = observations.agreement
    if rows is None or len(rows) == 0:
        return ()

    def estimated() -> tuple[Measurement, ...]:
        return tuple(
            item
            for part in (_same, _cosine, _signal_to_noise)
            if (item := part(observations, rows.astype(np.float64))) is not None
        )

    key = (digest(rows), observations.task, observations.policy.seed)
    return _kept.get(key, estimated)


def _same(observations: Observations, rows: NDArray[np.float64]) -> Measurement | None:
    same, n = rows[:, 0], len(rows)
    if np.isnan(same).any():
        return None
    if observations.task is Task.CLASSIFICATION:
        alike = round(float(same.sum()))
        low, high = wilson_interval(alike, n)
        return Measurement("agreement_top1", alike / n, "share", Direction.HIGHER, n, low, high)
    return _measurement(
        "agreement_top1", "share", n, bootstrap_mean_interval(same, seed=observations.policy.seed)
    )


def _cosine(observations: Observations, rows: NDArray[np.float64]) -> Measurement | None:
    _, product, own, other, _ = rows.T
    if not np.isfinite(product).all():
        return None
    norm = np.sqrt(own * other)
    both_zero = (own == 0) & (other == 0)
    cosines = np.where(norm > 0, product / np.where(norm > 0, norm, 1), np.where(both_zero, 1, 0))
    estimate = bootstrap_mean_interval(np.clip(cosines, -1, 1), seed=observations.policy.seed)
    return _measurement("agreement_cosine", "cosine", len(rows), estimate)


def _signal_to_noise(observations: Observations, rows: NDArray[np.float64]) -> Measurement | None:
    powers = rows[:, 3:5]
    if not np.isfinite(powers).all() or not (powers.sum(axis=0) > 0).all():
        return None

    def decibels(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        defined = (sums > 0).all(axis=1)
        ratio = np.where(defined, sums[:, 0], 1) / np.where(defined, sums[:, 1], 1)
        return np.where(defined, 10 * np.log10(ratio), np.nan)

    estimate = bootstrap_sums(powers, decibels, seed=observations.policy.seed)
    return _measurement("agreement_snr", "dB", len(rows), estimate)


def _measurement(name: str, unit: str, n: int, estimate: tuple[float, float, float]) -> Measurement:
    value, low, high = estimate
    ends = (low, high) if n > 1 else (None, None)
    return Measurement(name, value, unit, Direction.HIGHER, n, *ends)
