"""Each disturbance of a latency is told as what it is, and a quiet device is left alone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from harness.domain import AdvisoryKind as Kind
from harness.domain import Policy
from harness.metrics import Observations, TrialObservation, advisories
from harness.simulation.noise import SHAPES
from tests.support.noise import Disturbance, Shape, clean, job

Facts = Callable[[int, dict[str, Any]], None]

DISTURBING = {
    Kind.DRIFTING, Kind.THROTTLED, Kind.FREQUENCY_CHANGED, Kind.TWO_MODES, Kind.COARSE_TIMER,
    Kind.OTHER_LOAD, Kind.TRIALS_DISAGREE,
}  # fmt: skip


def told(observations: Observations) -> dict[Kind, list[str]]:
    found: dict[Kind, list[str]] = {}
    for advisory in advisories(observations):
        found.setdefault(advisory.kind, []).append(advisory.evidence)
    return found


def false_alarms(jobs: int, most_runs: int, first: int = 0) -> tuple[int, Counter[Kind]]:
    """Quiet jobs that got an advisory, in all and by kind."""
    found = [
        told(clean(seed, most_runs)).keys() & DISTURBING for seed in range(first, first + jobs)
    ]
    return sum(map(bool, found)), Counter(kind for kinds in found for kind in kinds)


def test_a_quiet_device_is_left_alone() -> None:
    """200 jobs, from 20 us to 200 ms, of many shapes of noise: at most 1 in 100 is wronged."""
    wronged, kinds = false_alarms(200, 200)
    assert wronged <= 2, kinds


@pytest.mark.slow
def test_a_quiet_device_is_left_alone_in_long_trials() -> None:
    """With all the runs of the default Policy, up to 50,000 a trial; and 1,000 shorter ones."""
    wronged, kinds = false_alarms(200, 100_000, 10_000)
    assert wronged <= 2, kinds
    wronged, kinds = false_alarms(1000, 1000, 20_000)
    assert wronged <= 10, kinds


@pytest.mark.parametrize(
    ("runs", "name", "kind"),
    [
        *((runs, name, None) for runs in (60, 300)
          for name in ("log-normal", "autocorrelated", "between trials")),
        (60, "two modes", Kind.TWO_MODES), (300, "two modes", Kind.TWO_MODES),
        (300, "drift", Kind.DRIFTING),
    ],
)  # fmt: skip
def test_the_shapes_that_prove_the_intervals(runs: int, name: str, kind: Kind | None) -> None:
    """Made by another hand: 200 jobs of five trials."""
    found: Counter[Kind] = Counter()
    for seed in range(200):
        drawn = SHAPES[name].draw(np.random.default_rng(seed), 5, runs) * 1e6
        trials = tuple(TrialObservation({"measure": row.astype(np.int64)}, {}) for row in drawn)
        found.update(told(Observations(Policy(), 1, trials=trials)).keys())
    if kind is not None:
        assert found.pop(kind) >= 198
    # Trials that differ by 2 % lie 10 % apart in 7 of 1,000 jobs, and then they do disagree;
    # waves as long as a trial of 60 runs are told from a change less surely.
    assert found.total() <= 4, found


def slower(by: float, *trials: int, after: float = 0.6, steadily: bool = False) -> Disturbance:
    """Those trials are slower by a share: from a part of their time on, or growing over it."""

    def factors(index: int, seconds: np.ndarray, _rng: np.random.Generator) -> Any:
        if index not in trials:
            return 1.0
        part = seconds / seconds[-1]
        return 1 + by * (part if steadily else part >= after)

    return factors


def at_random(by: float, share: float) -> Disturbance:
    return lambda _i, seconds, rng: 1 + by * (rng.random(len(seconds)) < share)


def by_trial(*factors: float) -> Disturbance:
    return lambda index, _seconds, _rng: factors[index]


def clock(*mhz: float | tuple[float, float], celsius: float | None = None) -> Facts:
    """The clock before and after each trial."""

    def change(index: int, told: dict[str, Any]) -> None:
        found = mhz[index] if index < len(mhz) else 1500.0
        before, after = found if isinstance(found, tuple) else (found, found)
        told["before"]["frequency_mhz"], told["after"]["frequency_mhz"] = before, after
        if celsius is not None:
            told["after"]["temperature_c"] = celsius

    return change


def busy(cores: float, *trials: int) -> Facts:
    """Others use so many cores during those trials."""

    def change(index: int, told: dict[str, Any]) -> None:
        if index in trials:
            seconds = (told["after"]["at"] - told["before"]["at"]) / 1e9
            told["after"]["busy_s"] = round(told["after"]["busy_s"] + cores * seconds, 2)

    return change


PROVOKED: dict[str, tuple[Kind, Disturbance | None, Facts | None]] = {
    "a step up": (Kind.DRIFTING, slower(0.12, 1), None),
    "a step down": (Kind.DRIFTING, slower(-0.10, 0, 1, 2, 3, 4, after=0.3), None),
    "a ramp": (Kind.DRIFTING, slower(0.15, 0, 1, 2, 3, 4, steadily=True), None),
    "over trials": (Kind.DRIFTING, by_trial(1, 1.06, 1.12, 1.18, 1.24), None),
    "throttling in a trial": (
        Kind.THROTTLED, slower(0.25, 2, 3), clock(1500, 1500, (1500, 1200), (1500, 1200))
    ),
    "throttling by heat alone": (
        Kind.THROTTLED, slower(0.25, 2, 3), clock(*[1500] * 5, celsius=84)
    ),
    "throttling over trials": (
        Kind.THROTTLED, by_trial(1, 1, 1, 1.25, 1.25), clock(1500, 1500, 1500, 1200, 1200)
    ),
    "two modes in trials": (Kind.TWO_MODES, at_random(0.15, 0.3), None),
    "two modes of trials": (Kind.TWO_MODES, by_trial(1, 1.15, 1, 1.15, 1), None),
    "another clock": (Kind.FREQUENCY_CHANGED, None, clock(1500, 1500, 1400)),
    "another clock in a trial": (Kind.FREQUENCY_CHANGED, None, clock((1200, 1500))),
    "other load": (Kind.OTHER_LOAD, None, busy(0.5, 1, 2)),
}  # fmt: skip

#: Trials that differ by more than a tenth disagree, whatever else is said of them.
ALSO = {"over trials", "throttling over trials", "two modes of trials"}


@pytest.mark.parametrize("runs", [120, 1000])
@pytest.mark.parametrize("name", PROVOKED)
def test_what_is_provoked_is_told_and_nothing_else(name: str, runs: int) -> None:
    kind, disturb, facts = PROVOKED[name]
    shape = Shape(median_ns=5e6, runs=runs, spread=0.008, between=0.01)
    found = [told(job(seed, shape, disturb, facts)).keys() & DISTURBING for seed in range(20)]
    assert sum(kind in kinds for kinds in found) >= 19
    others = Counter(other for kinds in found for other in kinds if other is not kind)
    if name in ALSO:
        assert others.pop(Kind.TRIALS_DISAGREE, 0) >= 15
    assert others.total() <= 1, others


@pytest.mark.parametrize(
    ("name", "evidence"),
    [
        ("a step up", "latency rose by 12 % from second 3 on in 1 of 5 trials"),
        ("a step down", "latency fell by up to 10 % from second 1.4 on in 5 of 5 trials"),
        ("a ramp", "latency rose by up to 14 % steadily in 5 of 5 trials"),
        ("over trials", "latency rose by 24 % from the first to the last of 5 trials"),
        ("throttling in a trial",
         "latency rose by up to 25 % within 2 of 5 trials: the clock fell from 1.5 GHz to 1.2 GHz"),
        ("throttling by heat alone",
         "latency rose by up to 25 % within 2 of 5 trials: the device was at 84 °C"),
        ("throttling over trials",
         "latency rose by 25 % over 5 trials: the clock fell from 1.5 GHz to 1.2 GHz"),
        ("two modes in trials", "about 25 % of the samples take 15 % longer in 5 of 5 trials"),
        ("two modes of trials", "2 of 5 trials take 15 % longer than the others"),
        ("another clock", "the clock was 1.4 GHz to 1.5 GHz, different between trials"),
        ("another clock in a trial", "the clock was 1.2 GHz to 1.5 GHz, also within a trial"),
        ("other load", "other processes used up to 0.6 cores during 2 of 5 trials"),
    ],
)  # fmt: skip
def test_evidence_in_words(name: str, evidence: str) -> None:
    kind, disturb, facts = PROVOKED[name]
    shape = Shape(median_ns=5e6, runs=1000, spread=0.003, between=0.002)
    assert told(job(0, shape, disturb, facts))[kind] == [evidence]


def test_trials_that_drift_are_no_second_mode_of_trials() -> None:
    shape = Shape(runs=300, between=0.005)
    found = told(job(0, shape, slower(0.15, 0, 3, steadily=True)))
    assert found.keys() == {Kind.DRIFTING}
    assert found[Kind.DRIFTING][0].endswith(" steadily in 2 of 5 trials")


@pytest.mark.parametrize("claimed", [True, False])
def test_a_coarse_clock(claimed: bool) -> None:
    """Its steps are no modes and no drift; it is told by what it claims and by what it does."""
    for seed, median in enumerate((1_500, 2_500, 5_000, 5_500, 20_000, 60_000)):
        shape = Shape(median_ns=median, runs=1000, resolution_ns=1000)
        found = told(job(seed, shape, clock_resolution_ns=1000.0 if claimed else 1.0))
        assert found.keys() == {Kind.COARSE_TIMER}, (median, found)
    fine = Shape(median_ns=150_000, runs=1000, resolution_ns=1000)
    assert told(job(1, fine, clock_resolution_ns=1.0)) == {}


def test_samples_that_are_all_equal() -> None:
    trials = tuple(TrialObservation({"measure": np.full(60, 41_666)}, {}) for _ in range(3))
    (found,) = told(Observations(Policy(), 1, trials=trials)).items()
    assert found == (Kind.COARSE_TIMER, ["all samples of 3 of 3 trials are equal, 41.7 us"])


def test_trials_that_noise_makes_differ_agree() -> None:
    """Few samples of a wide noise: medians differ by more than 10 %, as they must."""
    wide = Shape(runs=60, spread=0.5, skew=1.0, between=0.001, alike=0.0)
    medians = [[trial.median_ns or 0 for trial in job(seed, wide).trials] for seed in range(20)]
    far = [seed for seed, found in enumerate(medians) if max(found) > 1.1 * min(found)]
    assert len(far) >= 10
    assert sum(Kind.TRIALS_DISAGREE in told(job(seed, wide)) for seed in far) <= 1
    apart = by_trial(1, 0.9, 1.06, 1.02, 0.95)
    assert all(Kind.TRIALS_DISAGREE in told(job(seed, Shape(), apart)) for seed in range(10))


def test_many_trials_lie_further_apart() -> None:
    many = Shape(trials=25, runs=100, between=0.02)
    spread = [
        max(found) / min(found)
        for seed in range(20)
        if (found := [trial.median_ns or 0 for trial in job(seed, many).trials])
    ]
    assert max(spread) > 1.1
    assert not any(told(job(seed, many)) for seed in range(20))


def test_other_load_where_the_device_tells_no_load() -> None:
    def pushed(rate: int) -> Facts:
        def change(_index: int, told: dict[str, Any]) -> None:
            seconds = (told["after"]["at"] - told["before"]["at"]) / 1e9
            told["before"]["busy_s"] = None
            told["after"]["involuntary_switches"] = 3 + int(rate * seconds)

        return change

    shape = Shape(median_ns=5e6, runs=300)
    assert told(job(0, shape, None, pushed(5))) == {}
    assert told(job(0, shape, None, pushed(200)))[Kind.OTHER_LOAD] == [
        "others took the agent's core up to 200 times a second during 5 of 5 trials"
    ]


@pytest.mark.parametrize(
    "conditions",
    [
        None, 5, [], {}, {"before": None, "after": None}, {"before": {}, "after": {}},
        {"before": {"at": 1, "busy_s": "9", "own_s": None}, "after": {"at": "x", "busy_s": 5}},
        {"before": {"at": 9, "busy_s": 9, "own_s": 9}, "after": {"at": 9, "busy_s": 9, "own_s": 9}},
        {"before": {"at": 9, "busy_s": 9, "own_s": 9}, "after": {"at": 2, "busy_s": 1, "own_s": 1}},
        {"before": {"frequency_mhz": float("nan"), "temperature_c": True},
         "after": {"frequency_mhz": -5, "temperature_c": float("inf")}},
    ],
)  # fmt: skip
def test_conditions_that_tell_nothing(conditions: Any) -> None:
    quiet = job(1, Shape())
    trials = tuple(
        TrialObservation(trial.phases, {"conditions": conditions}, trial.at)
        for trial in quiet.trials
    )
    assert told(Observations(quiet.policy, 1, trials=trials)) == {}


def test_the_hosts_look_tells_where_the_agent_does_not() -> None:
    def look(khz: int, governor: str) -> dict[str, Any]:
        return {"khz": {"0": khz, "1": khz - 5}, "governor": governor, "temperature_c": 50.0}

    def observe(governor: str) -> Observations:
        slow = job(2, Shape(runs=300), slower(0.2, 0, 1, 2, 3, 4))
        looks = {"before": look(1_500_000, governor), "after": look(1_200_000, governor)}
        trials = tuple(
            TrialObservation(trial.phases, {"readiness": looks}, trial.at) for trial in slow.trials
        )
        return Observations(slow.policy, 1, trials=trials)

    assert told(observe("performance")).keys() == {Kind.THROTTLED}
    # A governor that lets an idle device rest says nothing of the clock under load.
    assert told(observe("schedutil")).keys() == {Kind.DRIFTING}


@pytest.mark.parametrize("phases", [{}, {"measure": np.array([], np.int64)}, {"first": np.ones(1)}])
def test_trials_without_samples(phases: Any) -> None:
    seen = Observations(Policy(min_runs=1), 1, trials=(TrialObservation(phases, {}),) * 3)
    assert told(seen).keys() == {Kind.FEW_SAMPLES}


def test_the_same_every_time_and_fast() -> None:
    observed = job(0, Shape(runs=1000), slower(0.2, 1))
    assert advisories(observed) == advisories(job(0, Shape(runs=1000), slower(0.2, 1)))
    spent = []
    for _ in range(20):
        begin = time.perf_counter()
        advisories(observed)
        spent.append(time.perf_counter() - begin)
    assert min(spent) < 0.02  # about 2 ms; machines that run tests are busy
