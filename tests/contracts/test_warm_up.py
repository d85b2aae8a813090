"""Every agent ends a warm-up by the same rule: the same inferences, the same answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device_agents.python.warmup import MOST, Steadiness
from harness.devices import messages as checked
from harness.devices.agents import AGENTS
from tests.support.agent import exchange, phases, request
from tests.support.modelled import TICK_NS, exchange_modelled

MS = 1_000_000

#: Wanted of every warm-up here unless a case says otherwise.
WANTED: dict[str, Any] = {
    "warmup_runs": 1, "warmup_seconds": 0.5, "warmup_max_seconds": 5.0, "steady_within": 0.01,
    "min_runs": 5, "min_seconds": 0,
}  # fmt: skip


def noisy(level: NDArray[np.float64] | float, count: int = 20_000) -> NDArray[np.float64]:
    rng = np.random.default_rng(1)
    return MS * level * np.exp(rng.normal(0, 0.02, count))


def decaying(tau: float) -> NDArray[np.float64]:
    """Twice as slow at first, then better with each run."""
    return noisy(1 + np.exp(-np.arange(20_000) / tau))


#: What inferences take in ns, what else is asked, the clock's step, and how it must end:
#: ``steady``, ``reason`` and bounds of ``runs``.
CASES: dict[str, tuple[Any, dict[str, Any], int, tuple[Any, str, int, int]]] = {
    "steady from the start": (noisy(1), {}, 1, (True, "steady", 480, 520)),
    "decaying": (decaying(200), {}, 1, (True, "steady", 1500, 2500)),
    "decaying slowly": (decaying(2000), {}, 1, (False, "max_seconds", 2000, 4000)),
    "never settles": (
        MS * (1 + np.arange(20_000) / 1000), {}, 1, (False, "max_seconds", 1000, 4000),
    ),
    "a coarse clock": ([4 * MS], {"warmup_seconds": 0}, 4 * MS, (True, "steady", 10, 10)),
    "a coarse clock's step": (
        [4 * MS] * 4 + [8 * MS] * 6, {"warmup_seconds": 0}, 4 * MS, (True, "steady", 10, 10),
    ),
    "slow": ([2000 * MS], {}, 1, (None, "max_seconds", 3, 3)),
    "slow, and just enough": ([900 * MS], {}, 1, (True, "max_seconds", 6, 6)),
    "changing, but few": (
        [600 * MS] * 7 + [400 * MS], {}, 1, (None, "max_seconds", 10, 10),
    ),
    "an hour each": ([3_600_000 * MS], {"max_seconds": 86_400}, 1, (None, "max_seconds", 1, 1)),
    "of max_runs": (decaying(200), {"max_runs": 200}, 1, (False, "max_runs", 200, 200)),
    "of max_seconds": (
        decaying(200), {"max_seconds": 0.7}, 1, (False, "max_seconds", 300, 700),
    ),
    "no patience beyond the minima": (
        decaying(200), {"warmup_max_seconds": 0}, 1, (False, "max_seconds", 200, 400),
    ),
    "minima above the patience": (
        noisy(1), {"warmup_seconds": 2, "warmup_max_seconds": 1}, 1, (True, "steady", 1900, 2100),
    ),
    "minimum of runs": (
        noisy(1), {"warmup_seconds": 0, "warmup_runs": 37}, 1, (True, "steady", 37, 37),
    ),
    "no test": (decaying(200), {"steady_within": 0}, 1, (None, "minimum", 200, 400)),
    "no test, of max_runs": (
        decaying(200), {"steady_within": 0, "max_runs": 20}, 1, (None, "max_runs", 20, 20),
    ),
    "no warm-up": (
        decaying(200), {"warmup_runs": 0, "warmup_seconds": 0}, 1, (None, "minimum", 0, 0),
    ),
    "anything goes": (decaying(200), {"steady_within": 1e308}, 1, (True, "steady", 200, 400)),
    "more samples than are looked at": (
        MS / 100 * (1 + np.exp(-np.arange(200_000) / 20_000)), {}, 1,
        (True, "steady", 60_000, 100_000),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_both_end_it_alike(
    commands: dict[str, list[str]], digits: dict[str, Path], tmp_path: Path, case: str
) -> None:
    durations, change, step, (steady, reason, least, most) = CASES[case]
    asked = request("latency", digits["float32"], digits["samples"], **{**WANTED, **change})
    ended = {}
    for name, command in commands.items():
        answers = exchange_modelled(name, command, asked, durations, tmp_path, step)
        facts = checked.done_facts(answers[-1], "here")
        runs = {phase: len(values) for phase, (_, values) in phases(answers).items()}
        found = facts["warmup"]
        assert (found["steady"], found["reason"]) == (steady, reason), (name, found)
        assert least <= found["runs"] <= most, (name, found)
        assert (runs["first"], runs.get("warmup", 0)) == (1, found["runs"])
        assert runs["measure"] >= min(5, asked.get("max_runs", 5))
        ended[name] = found
    assert all(found == ended["python"] for found in ended.values()), ended


@pytest.mark.parametrize("name", AGENTS)
def test_hosts_that_know_no_test_get_none(
    commands: dict[str, list[str]], digits: dict[str, Path], tmp_path: Path, name: str
) -> None:
    old = {key: WANTED[key] for key in ("warmup_runs", "warmup_seconds", "min_runs", "min_seconds")}
    asked = request("latency", digits["float32"], digits["samples"], **old)
    answers = exchange_modelled(name, commands[name], asked, [MS - TICK_NS], tmp_path)
    found = answers[-1]["facts"]["warmup"]
    assert found == {"steady": None, "runs": found["runs"], "reason": "minimum"}
    assert 490 <= found["runs"] <= 501


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("key", ["warmup_max_seconds", "steady_within"])
@pytest.mark.parametrize("value", [-1, -0.5, "0.01", None, True, [], {}, 1e400])
def test_keys_of_no_sense_are_refused(
    commands: dict[str, list[str]], digits: dict[str, Path], name: str, key: str, value: Any
) -> None:
    asked = request("latency", digits["float32"], digits["samples"], **{key: value})
    answer = exchange(asked, command=commands[name])[-1]
    assert (answer["type"], answer["kind"]) == ("error", "bad_request"), answer


def test_the_test_looks_at_a_bounded_number_of_samples_of_all_of_it() -> None:
    steadiness = Steadiness(0.01, 1)
    for run in range(1_000_000):
        steadiness.add(run)
    kept = steadiness._kept
    assert MOST // 2 <= len(kept) < MOST
    assert kept[0] == 0 and kept[-1] > 999_000
    assert set(np.diff(kept)) == {steadiness._every}


@pytest.mark.parametrize("total", [6, 9, 10, 17, 18, 25, 60, 300])
@pytest.mark.parametrize("sigma", [0.01, 0.1])
def test_steady_warm_ups_are_not_said_to_change(total: int, sigma: float) -> None:
    """Trials that may all be wrong together make an advisory: it must be rare in each."""
    rng, wrong = np.random.default_rng(4), 0
    for _ in range(400):
        steadiness = Steadiness(0.0001, 1)
        for value in (100 * MS * np.exp(rng.normal(0, sigma, total))).tolist():
            steadiness.add(int(value))
        wrong += steadiness.found() is False
    assert wrong <= 8  # one test of few samples; where it may go on, it is tested again


@pytest.mark.parametrize("sigma", [0.001, 0.02, 0.3])
def test_most_steady_warm_ups_are_found_steady_at_once(sigma: float) -> None:
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(300):
        steadiness = Steadiness(0.0001, 1)
        for value in MS * np.exp(rng.normal(0, sigma, 300)):
            steadiness.add(value)
        found += bool(steadiness.found())
    assert 0.9 < found / 300 < 0.99  # two standard errors
