"""Intervals over trials, comparisons, and tests that may be looked at as they go."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from harness.stats import (
    benjamini_hochberg,
    hierarchical_median_interval,
    mcnemar_mid_p,
    mean_interval,
    median_interval,
    median_ratio,
    paired_shares,
    relative_half_width,
    t_confidence_sequence,
)

medians = st.lists(st.floats(1e-3, 1e6), min_size=2, max_size=12).map(np.array)


@given(st.lists(st.lists(st.floats(1e-3, 1e6), min_size=1, max_size=9).map(np.array), min_size=2))
def test_the_interval_holds_the_estimate_and_is_the_same_every_time(
    trials: list[np.ndarray],
) -> None:
    value, low, high = hierarchical_median_interval(trials, replicates=200)
    assert low <= value <= high and math.isfinite(high - low)
    assert value == np.median([np.median(samples) for samples in trials])
    assert (value, low, high) == hierarchical_median_interval(trials, replicates=200)


def test_one_trial_says_nothing_of_how_processes_differ() -> None:
    value, low, high = hierarchical_median_interval([np.array([1.0, 2.0, 4.0])])
    assert value == 2 and math.isinf(low) and math.isinf(high)
    assert relative_half_width(np.array([2.0])) == math.inf


def test_empty_trials_are_refused() -> None:
    for trials in ([], [np.array([1.0]), np.array([])]):
        with pytest.raises(ValueError):
            hierarchical_median_interval(trials)


def test_few_trials_have_students_interval() -> None:
    values = np.array([10.0, 11.0, 12.0])
    low, high = stats.t.interval(0.95, 2, loc=11, scale=values.std(ddof=1) / math.sqrt(3))
    assert mean_interval(values) == pytest.approx((11, low, high))
    assert median_interval(values) == pytest.approx((11, low, high))


def test_no_interval_is_narrower_than_a_reading_can_be_off() -> None:
    assert median_interval(np.full(7, 5.0)) == (5, 5, 5)
    assert median_interval(np.full(7, 5.0), step=0.5) == (5, 4.75, 5.25)


def test_samples_of_one_process_are_no_independent_evidence() -> None:
    rng = np.random.default_rng(1)
    trials = [c * np.exp(rng.normal(0, 0.01, 2000)) for c in 100 * np.exp(rng.normal(0, 0.05, 6))]
    _, low, high = hierarchical_median_interval(trials)
    pooled = np.median(rng.choice(np.concatenate(trials), (300, 12_000)), axis=1)
    assert high - low > 10 * np.ptp(np.percentile(pooled, [2.5, 97.5]))


@given(medians, medians)
def test_a_ratio_turns_over_with_its_sides(base: np.ndarray, head: np.ndarray) -> None:
    there, back = median_ratio(base, head), median_ratio(head, base)
    assert there.value == pytest.approx(1 / back.value, rel=1e-9)
    assert there.low <= there.value <= there.high
    assert 0 <= there.p <= 1


def test_the_ratio_of_a_known_pair() -> None:
    base = np.array([10.0, 10.1, 9.9, 10.05, 9.95, 10.0])
    effect = median_ratio(base, base * 1.1)
    assert effect.value == pytest.approx(1.1)
    assert 1.08 < effect.low < 1.1 < effect.high < 1.12 and effect.p < 1e-6
    same = median_ratio(base, base)
    assert same.value == 1 and same.low < 1 < same.high and same.p == 1


def test_one_odd_trial_does_not_make_a_difference() -> None:
    base = np.array([10.0, 10.1, 9.9, 10.05, 9.95, 10.0])
    odd = np.array([10.0, 10.1, 9.9, 10.05, 9.95, 30.0])
    effect = median_ratio(base, odd)
    assert effect.value < 1.02 and effect.p > 0.05


@pytest.mark.parametrize(
    ("base", "head"), [([1.0], [1.0, 2.0]), ([1.0, 0.0], [1.0, 2.0]), ([], [1.0, 2.0])]
)
def test_ratios_that_nobody_can_tell(base: list[float], head: list[float]) -> None:
    with pytest.raises(ValueError):
        median_ratio(np.array(base), np.array(head))


def test_constant_trials_give_an_exact_ratio() -> None:
    effect = median_ratio(np.full(5, 2.0), np.full(5, 2.0))
    assert (effect.value, effect.low, effect.high, effect.p) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    # M. W. Fagerland et al., BMC Medical Research Methodology 13 (2013) 91, table 6: the
    # airway hyper-responsiveness study, 1 and 7 of 21 pairs disagree.
    ("lost", "gained", "p"),
    [(1, 7, 0.0391), (0, 0, 1.0), (5, 5, 1.0)],
)
def test_mcnemar_against_a_published_table(lost: int, gained: int, p: float) -> None:
    assert mcnemar_mid_p(lost, gained) == pytest.approx(p, abs=6e-5)
    assert mcnemar_mid_p(gained, lost) == pytest.approx(p, abs=6e-5)


def test_mcnemar_against_the_binomial_test() -> None:
    for lost, gained in ((3, 12), (0, 6), (40, 60)):
        exact = stats.binomtest(lost, lost + gained).pvalue
        point = stats.binom.pmf(lost, lost + gained, 0.5)
        assert mcnemar_mid_p(lost, gained) == pytest.approx(exact - point)


def test_paired_shares_look_at_the_same_samples() -> None:
    base = np.array([True] * 900 + [False] * 100)
    head = base.copy()
    head[:20] = False
    effect = paired_shares(base, head)
    assert effect.value == pytest.approx(-0.02) and effect.high < 0 and effect.p < 1e-4
    # As many answers, but of other samples: unpaired this could not be told.
    swapped = base.copy()
    swapped[:50], swapped[900:950] = False, True
    assert paired_shares(base, swapped).value == 0 and paired_shares(base, swapped).p == 1
    with pytest.raises(ValueError):
        paired_shares(base, head[:-1])


def test_the_paired_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(6)
    held = 0
    for _ in range(1000):
        # 5 % of the samples are lost and 3 % gained.
        drawn = rng.random(400)
        base, head = drawn < 0.85, (drawn < 0.80) | (drawn > 0.97)
        effect = paired_shares(base, head)
        held += effect.low <= -0.02 <= effect.high
    assert 0.93 <= held / 1000 <= 0.98, held


def test_benjamini_and_hochberg_as_scipy_has_it() -> None:
    rng = np.random.default_rng(3)
    p = rng.random(40) ** 3
    assert benjamini_hochberg(p) == pytest.approx(stats.false_discovery_control(p))
    with_gaps = np.insert(p, 5, np.nan)
    found = benjamini_hochberg(with_gaps)
    assert np.isnan(found[5]) and np.delete(found, 5) == pytest.approx(benjamini_hochberg(p))
    assert len(benjamini_hochberg(np.array([]))) == 0


def test_a_confidence_sequence_narrows_onto_the_mean() -> None:
    values = np.random.default_rng(4).normal(0.03, 0.02, 400)
    mean, low, high = t_confidence_sequence(values)
    assert low < 0.03 < high and mean == values.mean() and high - low < 0.01
    assert math.isinf(t_confidence_sequence(values[:1])[1])
    assert math.isinf(t_confidence_sequence(values[:2])[1])
    with pytest.raises(ValueError):
        t_confidence_sequence(values[:0])


@pytest.mark.slow
def test_peeking_keeps_the_error_rate() -> None:
    """Looked at after each of 200 values, it errs in at most 5 % of experiments all the same."""
    rng = np.random.default_rng(5)
    wrong = fixed = 0
    for _ in range(600):
        values = rng.normal(0, 1, 200)
        wrong += any(
            low > 0 or high < 0
            for _, low, high in (t_confidence_sequence(values[:n]) for n in range(2, 201))
        )
        fixed += any(
            low > 0 or high < 0
            for _, low, high in (mean_interval(values[:n]) for n in range(2, 201))
        )
    assert wrong <= 0.05 * 600, wrong
    assert fixed > 0.2 * 600  # what a plain interval would do
