from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats import (
    auc_interval,
    bootstrap_mean_interval,
    bootstrap_sums,
    mean_of_proportions_interval,
    median,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)],
)
def test_wilson_against_known_values(successes: int, n: int, low: float, high: float) -> None:
    found = wilson_interval(successes, n)
    assert found == pytest.approx((low, high), abs=6e-5)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_estimate_and_stays_in_range(pair: tuple[int, int]) -> None:
    successes, n = pair
    low, high = wilson_interval(successes, n)
    assert 0 <= low <= successes / n + 1e-12 and successes / n - 1e-12 <= high <= 1


@pytest.mark.parametrize("n", [1, 3, 6, 7, 20, 5000])
def test_wilson_at_its_ends_holds_the_estimate_exactly(n: int) -> None:
    assert wilson_interval(0, n)[0] == 0.0 and wilson_interval(n, n)[1] == 1.0


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_nonsense(successes: int, n: int) -> None:
    with pytest.raises(ValueError):
        wilson_interval(successes, n)


def test_the_bootstrap_of_sums_is_a_plain_bootstrap() -> None:
    rng = np.random.default_rng(4)
    values = rng.lognormal(0, 1, 150)
    value, low, high = bootstrap_mean_interval(values, replicates=20_000)
    plain = rng.choice(values, (20_000, 150)).mean(axis=1)
    assert value == pytest.approx(values.mean())
    assert (low, high) == pytest.approx(tuple(np.percentile(plain, [2.5, 97.5])), rel=0.02)
    assert (value, low, high) == bootstrap_mean_interval(values, replicates=20_000)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40).map(np.array))
def test_the_interval_of_a_mean_holds_it_and_lies_in_the_data(values: np.ndarray) -> None:
    value, low, high = bootstrap_mean_interval(values, replicates=200)
    assert low <= value <= high
    slack = 1e-9 * (1 + abs(values).max())
    assert values.min() - slack <= low and high <= values.max() + slack


def test_estimates_that_are_not_defined() -> None:
    for columns in (np.empty((0, 1)), np.full((3, 1), np.nan)):
        with pytest.raises(ValueError):
            bootstrap_sums(columns, lambda sums: sums[:, 0])
    # Replicates without the one sample that matters are left out.
    columns = np.array([[1.0, 1.0], [0.0, 0.0]])

    def ratio(sums: np.ndarray) -> np.ndarray:
        return np.where(sums[:, 1] > 0, sums[:, 0] / np.maximum(sums[:, 1], 1), np.nan)

    assert bootstrap_sums(columns, ratio) == (1, 1, 1)


def test_delongs_variance_by_its_definition() -> None:
    """Structural components counted pair by pair, as in the paper's equation 4."""
    rng = np.random.default_rng(6)
    positive, negative = rng.integers(2, 9, 14).astype(float), rng.integers(0, 7, 11).astype(float)
    wins = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    variance = wins.mean(1).var(ddof=1) / 14 + wins.mean(0).var(ddof=1) / 11
    value, low, high = auc_interval(positive, negative)
    assert value == pytest.approx(wins.mean())
    half = 1.959963984540054 * np.sqrt(variance) / (value * (1 - value))
    ends = 1 / (1 + np.exp(-(np.log(value / (1 - value)) + np.array([-half, half]))))
    assert (low, high) == pytest.approx(tuple(ends))


@pytest.mark.parametrize(("positive", "negative", "shift"), [(50, 60, 1.0), (12, 10, 1.5)])
def test_the_interval_of_an_auc_covers_the_truth(
    positive: int, negative: int, shift: float
) -> None:
    from scipy.stats import norm

    rng, truth, hits = np.random.default_rng(7), norm.cdf(shift / np.sqrt(2)), 0
    for _ in range(300):
        _, low, high = auc_interval(rng.normal(shift, 1, positive), rng.normal(0, 1, negative))
        hits += low <= truth <= high
    assert hits / 300 >= 0.91


def test_an_auc_of_one_keeps_its_doubt() -> None:
    value, low, high = auc_interval(np.arange(5.0) + 9, np.arange(5.0))
    assert value == high == 1 and 0.4 < low < 0.9
    assert auc_interval(np.arange(5.0), np.arange(5.0) + 9)[:2] == (0, 0)
    for scores in (np.array([]), np.array([np.nan])):
        with pytest.raises(ValueError):
            auc_interval(scores, np.array([1.0]))


def test_the_mean_of_proportions() -> None:
    alone = mean_of_proportions_interval([15], [148])
    assert alone == pytest.approx((15 / 148, *wilson_interval(15, 148)))
    value, low, high = mean_of_proportions_interval([10, 10], [10, 10])
    assert value == high == 1 and wilson_interval(10, 10)[0] < low < 1
    rng, hits = np.random.default_rng(8), 0
    for _ in range(400):
        drawn = rng.binomial(30, [0.9, 0.6, 0.99])
        _, low, high = mean_of_proportions_interval(drawn.tolist(), [30] * 3)
        hits += low <= 0.83 <= high
    assert 0.92 <= hits / 400 <= 0.99
    for wrong in (([], []), ([1], [0]), ([1, 1], [2])):
        with pytest.raises(ValueError):
            mean_of_proportions_interval(*wrong)


@given(st.lists(st.integers(1, 2**62) | st.floats(1e-9, 1e18), min_size=1, max_size=40))
def test_the_quick_median_is_numpys_to_the_last_bit(values: list[float]) -> None:
    for kind in (np.int64, np.float64):
        vector = np.array(values).astype(kind)
        assert median(vector) == np.median(vector)


def test_nothing_has_no_median() -> None:
    with pytest.raises(ValueError, match="nothing"):
        median(np.empty(0))
