"""Changes, groups, steps and spreads: against known values, other ways, and noise."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from harness.stats import (
    expected_range,
    find_change,
    granularity,
    heterogeneity_chance,
    level_error,
    short_trend,
    two_groups,
    two_modes,
)
from harness.stats.modes import best_split
from harness.stats.series import block_medians, level_shift, trend


def noise(rng: np.random.Generator, n: int, alike: float = 0.0) -> np.ndarray:
    from scipy.signal import lfilter

    steps = rng.normal(size=n)
    steps[1:] *= np.sqrt(1 - alike**2)
    return np.asarray(lfilter([1.0], [1.0, -alike], steps))


def test_blocks_are_of_equal_length_and_bounded() -> None:
    assert block_medians(np.arange(2)).size == 0
    assert block_medians(np.array([5, 1, 3, 9])).tolist() == [3]
    for n in (31, 96, 97, 1000, 100_000):
        found = block_medians(np.arange(n))
        assert len(found) <= 32 and (np.diff(found) == found[1] - found[0]).all()


def test_a_shift_is_found_where_it_is() -> None:
    rng = np.random.default_rng(1)
    for place in (4, 10, 16, 28):
        series = 0.01 * noise(rng, 32)
        series[place:] += 0.1
        found, height, score = level_shift(series)
        assert found == place and height == pytest.approx(0.1, abs=0.02) and score > 10


def test_the_slope_is_that_of_theil_and_sen_and_the_order_that_of_kendall() -> None:
    rng = np.random.default_rng(2)
    series = 0.3 * np.arange(20) + noise(rng, 20)
    slope, score, order = trend(series)
    assert slope == pytest.approx(scipy_stats.theilslopes(series, np.arange(20)).slope)
    # Without autocorrelation it is the plain test: S, less 1 for continuity, by its deviation.
    tau = scipy_stats.kendalltau(np.arange(20), series).statistic
    plain = (abs(tau) * 190 - 1) / np.sqrt(20 * 19 * 45 / 18)
    assert order <= plain + 1e-9 and order > 0.5 * plain and score > 6


@pytest.mark.parametrize("alike", [0.0, 0.5, 0.8])
def test_noise_whose_neighbours_are_alike_is_no_change(alike: float) -> None:
    """Of 1,000 series at most 5 are called one, the practical bound left out."""
    rng = np.random.default_rng(3)
    found = [find_change(np.exp(0.02 * noise(rng, 300, alike)), least=1e-9) for _ in range(1000)]
    assert sum(change is not None for change in found) <= 5
    # The plain test would call many of these a trend: that is what the correction is for.
    if alike == 0.8:
        plain = [abs(scipy_stats.kendalltau(np.arange(40), noise(rng, 40, alike)).pvalue) < 0.003
                 for _ in range(300)]  # fmt: skip
        assert sum(plain) > 30


def test_changes_by_kind_size_and_place() -> None:
    rng = np.random.default_rng(4)
    base = 1e6 * np.exp(0.01 * noise(rng, 1000))
    at = np.arange(1000)
    shift = find_change(base * np.where(at >= 640, 1.12, 1), least=0.03)
    assert shift and shift.begin == pytest.approx(640, abs=32)
    assert shift.ratio == pytest.approx(1.12, abs=0.01)
    ramp = find_change(base * (1 - 0.2 * at / 1000), least=0.03)
    assert ramp and ramp.begin is None and ramp.ratio == pytest.approx(0.8, abs=0.02)
    assert find_change(base * np.where(at >= 640, 1.02, 1), least=0.03) is None
    assert find_change(base, least=0.03) is None
    far = base.copy()
    far[rng.integers(0, 1000, 20)] *= 40
    assert find_change(far, least=0.03) is None


@pytest.mark.parametrize(
    "values",
    [np.array([]), np.array([5]), np.arange(1, 20), np.zeros(100), np.full(100, 7),
     np.r_[np.zeros(50), np.ones(50)], np.full(100_000, 1 << 60)],
)  # fmt: skip
def test_what_says_nothing_is_no_change(values: np.ndarray) -> None:
    assert find_change(values, least=0.03) is None
    assert two_modes(values, least_ratio=1.05, least_share=0.1) is None


def test_a_change_without_noise() -> None:
    found = find_change(np.r_[np.full(60, 100), np.full(60, 120)], least=0.03)
    assert found and found.begin == 60 and found.ratio == pytest.approx(1.2)


@given(st.floats(1e-3, 1e6), st.integers(0, 50))
def test_a_change_is_a_ratio_whatever_the_unit(scale: float, seed: int) -> None:
    values = np.exp(0.01 * noise(np.random.default_rng(seed), 200))
    values[120:] *= 1.1
    one, other = (find_change(values * factor, least=0.03) for factor in (1.0, scale))
    assert one and other and one.begin == other.begin
    assert one.ratio == pytest.approx(other.ratio)


def test_a_trend_of_a_few() -> None:
    assert short_trend(np.array([1.0, 1.03, 1.06, 1.09, 1.12]), least=0.05, chance=0.005) == (
        pytest.approx(1.12, abs=0.002)
    )
    assert short_trend(np.array([1.0, 1.12, 1.03, 1.09, 1.06]), least=0.05, chance=0.005) is None
    assert short_trend(np.array([1.0, 1.01, 1.02, 1.03, 1.04]), least=0.05, chance=0.005) is None
    assert short_trend(np.array([1.0, 1.1, 1.2, 1.3]), least=0.05, chance=0.005) is None
    values = np.array([1.0, 1.02, 1.05, 1.06, 1.1, 1.11])
    found = scipy_stats.linregress(np.arange(6), np.log(values)).pvalue
    assert short_trend(values, least=0.05, chance=found * 1.01)
    assert short_trend(values, least=0.05, chance=found * 0.99) is None


@pytest.mark.parametrize("alike", [0.0, 0.6, 0.9])
def test_the_error_of_a_level_is_its_deviation(alike: float) -> None:
    rng = np.random.default_rng(5)
    series = [np.exp(0.02 * noise(rng, 1000, alike)) for _ in range(300)]
    truth = np.std([np.log(np.median(values)) for values in series])
    told = np.median([level_error(values) for values in series])  # type: ignore[type-var]
    assert told == pytest.approx(truth, rel=0.25)
    assert level_error(np.arange(1, 20)) is None


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=12))
def test_the_best_split_is_the_best_of_all(values: list[float]) -> None:
    ordered = np.sort(values)

    def within(size: int) -> float:
        return sum(float(part.var() * len(part)) for part in (ordered[:size], ordered[size:]))

    best = min(within(size) for size in range(1, len(ordered)))
    assert within(best_split(ordered)) == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.normal(1, 0.05, n),
        lambda rng, n: rng.uniform(1, 1.5, n),
        lambda rng, n: 1 + rng.exponential(0.2, n),
        lambda rng, n: rng.lognormal(0, 0.8, n),
        lambda rng, n: 1 + 0.05 * rng.standard_t(2, n).clip(-15),
    ],
)
@pytest.mark.parametrize("n", [50, 1000])
def test_one_mode_of_any_shape_is_not_two(draw: object, n: int) -> None:
    rng = np.random.default_rng(6)
    found = [two_modes(draw(rng, n), least_ratio=1.05, least_share=0.1)  # type: ignore[operator]
             for _ in range(300)]  # fmt: skip
    assert sum(groups is not None for groups in found) <= (6 if n == 50 else 0)


def test_two_modes_and_their_share() -> None:
    rng = np.random.default_rng(7)
    values = np.exp(0.01 * noise(rng, 1000)) * np.where(rng.random(1000) < 0.3, 1.1, 1)
    found = two_modes(values, least_ratio=1.05, least_share=0.1)
    assert found and found.ratio == pytest.approx(1.1, abs=0.01)
    assert found.upper == pytest.approx(0.3, abs=0.05)
    assert two_modes(values, least_ratio=1.15, least_share=0.1) is None
    assert two_modes(values, least_ratio=1.05, least_share=0.4) is None
    outliers = np.r_[np.exp(0.01 * noise(rng, 995)), np.full(5, 3.0)]
    assert two_modes(outliers, least_ratio=1.05, least_share=0.1) is None


def test_two_groups_of_a_few() -> None:
    found = two_groups(np.array([1.0, 1.2, 1.01, 1.21, 0.99]), least_ratio=1.05, least_share=0.1)
    assert found is not None and found.tolist() == [False, True, False, True, False]
    for values in (
        [1.0, 1.0, 1.0, 1.0, 1.2],  # one alone is an outlier
        [1.0, 1.02, 1.04, 1.06, 1.08],
        [1.0, 1.0, 1.04, 1.04, 1.04],  # too near
        [1.0, 1.0, 1.2, 1.2],  # too few
        [0.0, 0.0, 1.0, 1.0, 1.0],
    ):
        assert two_groups(np.array(values), least_ratio=1.05, least_share=0.1) is None


def test_a_spread_beside_its_errors() -> None:
    rng = np.random.default_rng(8)
    chances = [
        heterogeneity_chance(rng.normal(5, [0.1, 0.2, 0.3, 0.4]).tolist(), [0.1, 0.2, 0.3, 0.4])
        for _ in range(2000)
    ]
    assert scipy_stats.kstest(chances, "uniform").pvalue > 0.001
    assert heterogeneity_chance([1, 2], [0, 1]) == 0 and heterogeneity_chance([1, 1], [0, 0]) == 1
    for wrong in (([1], [1]), ([1, 2], [1])):
        with pytest.raises(ValueError):
            heterogeneity_chance(*wrong)
    for count in (2, 5, 25):
        drawn = np.ptp(rng.normal(size=(20_000, count)), axis=1).mean()
        assert expected_range(count) == pytest.approx(drawn, rel=0.05)


def test_steps_that_values_lie_on() -> None:
    rng = np.random.default_rng(9)
    true = rng.normal(20_000, 900, 500)
    assert granularity((true // 1000 * 1000).astype(np.int64)) == 1000
    rounded = np.round(true // 1000 * 1000 + rng.integers(0, 2, 500)).astype(np.int64)
    assert granularity(rounded) == pytest.approx(1000, abs=1)
    assert granularity(true.astype(np.int64)) is None
    assert granularity(np.full(50, 7)) == 0
    assert granularity(np.full(5, 7)) is None
    modes = np.r_[true[:250], true[250:] * 2].astype(np.int64)
    assert granularity(modes) is None
    quiet = np.r_[np.full(40, 1_000_000), np.full(40, 1_000_010)]
    assert granularity(quiet) is None  # one level, rounded


def test_every_order_of_five_trials_but_few_is_no_trend() -> None:
    values = np.exp([0, 0.02, 0.04, 0.06, 0.08])
    orders = itertools.permutations(range(5))
    found = [order for order in orders
             if short_trend(values[list(order)], least=0.05, chance=0.005)]  # fmt: skip
    assert found == [(0, 1, 2, 3, 4), (4, 3, 2, 1, 0)]
