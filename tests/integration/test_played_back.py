"""Traces of throttling and changing clocks, played back to the agent itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.domain import AdvisoryKind as Kind
from harness.domain import Policy
from harness.metrics import Observations, advisories
from tests.support.agent import request
from tests.support.played_back import Trace, play

#: Seconds -> MHz and degrees Celsius, of trial 0, 1, ...
Device = Callable[[int, float], tuple[float, float]]


def steady(_trial: int, _second: float) -> tuple[float, float]:
    return 1500, 55


def throttles(_trial: int, second: float) -> tuple[float, float]:
    """As a Raspberry Pi 4 without a heat sink: warmer and warmer, from 82 °C on a lower clock."""
    celsius = min(82.0, 60 + 10 * second)
    return (1500, celsius) if celsius < 82 else (1000, celsius)


def throttles_later(trial: int, _second: float) -> tuple[float, float]:
    return (1500, 70) if trial < 3 else (1200, 81)


def hops(trial: int, _second: float) -> tuple[float, float]:
    """A governor that chooses one clock for one trial and another for the next."""
    return (1500 if trial % 2 else 1380), 55


def changes_without_effect(_trial: int, second: float) -> tuple[float, float]:
    """The clock is told as lower for the last moment only."""
    return (1500 if second < 3.95 else 1200), 55


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        (steady, {}),
        (throttles,
         {Kind.THROTTLED: ["latency rose by up to 50 % within 5 of 5 trials: the clock fell from "
                           "1.5 GHz to 1.0 GHz at 82 °C"]}),
        (throttles_later,
         {Kind.THROTTLED: ["latency rose by 25 % over 5 trials: the clock fell from 1.5 GHz to "
                           "1.2 GHz at 81 °C"]}),
        (hops,
         {Kind.FREQUENCY_CHANGED: ["the clock was 1.4 GHz to 1.5 GHz, different between trials"],
          Kind.TWO_MODES: ["3 of 5 trials take 9 % longer than the others"]}),
        (changes_without_effect,
         {Kind.FREQUENCY_CHANGED: ["the clock was 1.2 GHz to 1.5 GHz, also within a trial"]}),
    ],
)  # fmt: skip
def test_a_trace_is_told_as_what_it_is(
    digits: dict[str, Path], tmp_path: Path, device: Device, expected: dict[Kind, list[str]]
) -> None:
    asked = request(
        "latency", digits["int8"], digits["samples"], warmup_seconds=0.5, min_runs=50,
        min_seconds=3.5,
    )  # fmt: skip
    trials = tuple(
        play(asked, Trace(5e6, 1500, lambda second, trial=trial: device(trial, second)),  # type: ignore[misc]
             tmp_path / str(trial), seed=trial)
        for trial in range(5)
    )  # fmt: skip
    found: dict[Kind, list[str]] = {}
    for advisory in advisories(Observations(Policy(), 1, trials=trials)):
        if advisory.kind is not Kind.TRIALS_DISAGREE:
            found.setdefault(advisory.kind, []).append(advisory.evidence)
    assert found == expected
