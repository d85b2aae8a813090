from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.stats import hierarchical_median_interval, wilson_interval


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


@given(
    st.lists(
        st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=30).map(np.array),
        min_size=1,
        max_size=8,
    )
)
def test_the_interval_holds_the_estimate_and_lies_in_the_data(trials: list[np.ndarray]) -> None:
    value, low, high = hierarchical_median_interval(trials, replicates=200)
    assert low <= value <= high
    assert min(map(np.min, trials)) <= low and high <= max(map(np.max, trials))
    assert (value, low, high) == hierarchical_median_interval(trials, replicates=200)


def test_trials_widen_the_interval_where_samples_alone_would_not() -> None:
    rng = np.random.default_rng(1)
    centres = 100 * np.exp(rng.normal(0, 0.05, 5))
    trials = [centre * np.exp(rng.normal(0, 0.01, 2000)) for centre in centres]
    _, low, high = hierarchical_median_interval(trials)
    _, low_pooled, high_pooled = hierarchical_median_interval([np.concatenate(trials)])
    assert high - low > 3 * (high_pooled - low_pooled)


def test_the_shortcut_draws_medians_like_a_plain_bootstrap() -> None:
    rng = np.random.default_rng(2)
    samples = rng.lognormal(0, 0.3, 201)
    _, low, high = hierarchical_median_interval([samples], replicates=20_000)
    plain = np.median(rng.choice(samples, (20_000, 201)), axis=1)
    assert (low, high) == pytest.approx(tuple(np.percentile(plain, [2.5, 97.5])), rel=0.01)


def test_the_interval_of_the_median_covers_the_truth() -> None:
    rng = np.random.default_rng(3)
    hits = 0
    for _ in range(300):
        centres = 10 * np.exp(rng.normal(0, 0.03, 5))
        trials = [centre * np.exp(rng.normal(0, 0.05, 60)) for centre in centres]
        _, low, high = hierarchical_median_interval(trials, replicates=500)
        hits += low <= 10 <= high
    assert 0.88 <= hits / 300 <= 0.99


def test_empty_trials_are_refused() -> None:
    with pytest.raises(ValueError):
        hierarchical_median_interval([])
    with pytest.raises(ValueError):
        hierarchical_median_interval([np.array([1.0]), np.array([])])
