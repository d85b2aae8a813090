"""Whether the statistics are right: experiments with a known truth, all seeded.

The curves of the documentation come from the same shapes: ``python -m benchmarks coverage``.
"""

from __future__ import annotations

import numpy as np
import pytest

from harness.decide.compare import MIN_EFFECT, SIGNIFICANCE
from harness.domain import Policy
from harness.simulation.noise import SHAPES, Floats
from harness.stats import (
    benjamini_hochberg,
    hierarchical_median_interval,
    median_interval,
    median_ratio,
    precise_enough,
)

EXPERIMENTS = 2000
SAMPLES = 100


def until_precise(rng: np.random.Generator, shape: str, scale: float = 1.0) -> Floats:
    """The trial medians of a job under the default Policy's stop rule."""
    policy = Policy()
    draw = SHAPES[shape].draw
    medians = scale * np.median(draw(rng, policy.max_trials, SAMPLES), axis=1)
    count = policy.trials
    while count < policy.max_trials and not precise_enough(medians[:count], policy.precision):
        count += 1
    found: Floats = medians[:count]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("trials", [3, 5, 7, 12])
@pytest.mark.parametrize("shape", SHAPES)
def test_intervals_of_the_median_hold_the_truth(shape: str, trials: int) -> None:
    rng = np.random.default_rng(20)
    held = 0
    for _ in range(EXPERIMENTS):
        samples = SHAPES[shape].draw(rng, trials, SAMPLES)
        _, low, high = hierarchical_median_interval(list(samples), replicates=1000)
        held += low <= 1 <= high
    assert 0.92 <= held / EXPERIMENTS <= 0.98, held / EXPERIMENTS


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_intervals_hold_the_truth_where_precision_ended_the_trials(shape: str) -> None:
    rng = np.random.default_rng(21)
    held = 0
    for _ in range(EXPERIMENTS):
        _, low, high = median_interval(until_precise(rng, shape))
        held += low <= 1 <= high
    assert 0.92 <= held / EXPERIMENTS <= 0.98, held / EXPERIMENTS


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_equal_variants_seldom_differ(shape: str) -> None:
    """A/A: of the cells of a comparison, after the correction for their number."""
    rng = np.random.default_rng(22)
    cells = 50
    shown = 0
    for _ in range(20):
        effects = [
            median_ratio(*(np.median(SHAPES[shape].draw(rng, 7, SAMPLES), axis=1) for _ in "ab"))
            for _ in range(cells)
        ]
        adjusted = benjamini_hochberg(np.array([effect.p for effect in effects]))
        shown += sum(
            p <= SIGNIFICANCE and not effect.low <= 1 <= effect.high
            for p, effect in zip(adjusted, effects, strict=True)
        )
    assert shown <= 0.05 * 20 * cells


@pytest.mark.slow
def test_a_slowdown_of_three_percent_is_found() -> None:
    """With 2 % between trials, under the default Policy and minimum effect."""
    rng = np.random.default_rng(23)
    found = 0
    for _ in range(400):
        base, head = (until_precise(rng, "between trials", scale) for scale in (1.0, 1.03))
        effect = median_ratio(base, head)
        found += effect.p <= SIGNIFICANCE and effect.low > 1 and effect.value >= 1 + MIN_EFFECT
    assert found >= 0.9 * 400, found / 400


def test_more_trials_narrow_the_interval_and_more_samples_do_not() -> None:
    rng = np.random.default_rng(24)
    draw = SHAPES["between trials"].draw

    def width(trials: int, samples: int) -> float:
        found = [
            np.ptp(hierarchical_median_interval(list(draw(rng, trials, samples)))[1:])
            for _ in range(60)
        ]
        return float(np.median(found))

    few = width(6, 50)
    assert width(6, 2000) > 0.8 * few
    assert width(24, 50) < 0.6 * few
