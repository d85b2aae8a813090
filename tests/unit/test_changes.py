"""Changes of level: found where they are, and not where there are none."""

from __future__ import annotations

import numpy as np
import pytest

from harness.stats.changes import LEAST_VALUES, split_p, splits


def confirmed(values: object) -> list[int]:
    return [split.at for split in splits(np.asarray(values)) if split.p <= 0.05]


def test_steps_are_found_where_they_are() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(10, 0.1, 40)
    values[12:] += 1
    values[30:] -= 2
    assert confirmed(values) == [12, 30]


@pytest.mark.parametrize("noise", ["normal", "heavy"])
def test_what_does_not_change_is_left_alone(noise: str) -> None:
    """At most one series in 20 may be a false alarm; 200 series allow for chance."""
    rng = np.random.default_rng(1)
    draw = rng.standard_normal if noise == "normal" else lambda n: rng.standard_t(2, n)
    alarms = sum(bool(confirmed(draw(25))) for _ in range(200))
    assert alarms <= 16  # 10 are expected at the level of the test; 16 or fewer in 97 of 100


def test_a_step_is_found_nearly_always() -> None:
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(50):
        values = rng.normal(0, 1, 24)
        values[18:] += 4
        found += any(abs(at - 18) <= 1 for at in confirmed(values))
    assert found >= 45


def test_one_night_is_no_level() -> None:
    values = np.random.default_rng(3).normal(0, 1, 30)
    values[11] = 500
    assert confirmed(values) == []


def test_too_few_or_constant_values_have_no_change() -> None:
    assert splits([]) == splits([1.0]) == splits([1.0] * (LEAST_VALUES - 2) + [9.0]) == []
    assert splits([7.0] * 50) == []


def test_steps_without_any_noise_are_found() -> None:
    assert confirmed([0.9] * 10 + [0.8] * 6) == [10]


def test_with_the_fewest_values_the_clearest_change_is_confirmed() -> None:
    """What is called enough is enough; one value less could not confirm anything."""
    low, high = [1.0, 1.01, 0.99, 1.02], [2.0, 2.01, 1.99, 2.02]
    assert len(low + high) == LEAST_VALUES
    (split,) = splits(low + high)
    assert split.at == 4 and split.p <= 0.05
    assert split_p(np.array(low[1:] + high), 3) > 0.05 and splits(low[1:] + high) == []


def test_the_test_is_exact_enough() -> None:
    """Of the 70 orders of 4 low and 4 high values two are perfect splits in the middle."""
    p = split_p(np.array([1.0, 2, 3, 4, 15, 16, 17, 18]), 4)
    assert p == pytest.approx(2 / 70, abs=0.01)
    assert split_p(np.array([3.0] * 8), 4) == 1


def test_the_same_series_gives_the_same_answer() -> None:
    values = np.random.default_rng(4).normal(0, 1, 40)
    values[20:] += 1.2
    assert splits(values) == splits(values.copy())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        splits([1.0, 2, 3, 4, 5, bad])
