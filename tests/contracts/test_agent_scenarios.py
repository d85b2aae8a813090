"""Every agent answers queries alike: the same arrivals, the same meaning of a latency."""

from __future__ import annotations

import importlib.util
import itertools
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device_agents.python.arrivals import arrivals, exponential, uniform
from harness.devices import messages as checked
from tests.support import needed
from tests.support.agent import AgentProcess, command_of, exchange, phases, request

QUICK = {"warmup_runs": 2, "warmup_seconds": 0, "min_seconds": 0.05, "min_queries": 20}
SERVER = {"scenario": "server", "target_qps": 400, "latency_bound_ms": 50, **QUICK}


class Answered:
    """The samples of an answer by phase, both (n,), and the facts of its end."""

    def __init__(self, command: list[str], digits: dict[str, Path], **asked: Any) -> None:
        self.messages = exchange(
            request("scenario", digits["float32"], digits["samples"], **asked), command=command
        )
        self.found = phases(self.messages, checked.SCENARIO_PHASES)
        self.facts = checked.done_facts(self.messages[-1], "here")

    @property
    def phases(self) -> list[str]:
        return list(self.found)

    def __getitem__(self, phase: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return self.found[phase]


def test_the_numbers_are_those_of_the_paper() -> None:
    # The first outputs of SplitMix64 for this seed, as its authors' code prints them.
    known = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert list(itertools.islice(uniform(1234567), 3)) == [value >> 11 for value in known]


def test_gaps_are_exponential() -> None:
    from scipy.stats import kstest

    gaps = list(itertools.islice(exponential(uniform(7)), 20_000))
    assert kstest(gaps, "expon").pvalue > 0.01
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 0.03
    at = np.array(list(itertools.islice(arrivals(7, 50.0), 20_001)))
    assert at[0] == 0 and (len(at) - 1) / at[-1] * 1e9 == pytest.approx(50, rel=0.03)


@pytest.mark.parametrize("scenario", ["single_stream", "multi_stream"])
def test_one_query_after_the_other(
    agent: list[str], digits: dict[str, Path], scenario: str
) -> None:
    found = Answered(agent, digits, scenario=scenario, samples_per_query=4, count=3, **QUICK)
    assert found.phases == ["first", "warmup", "query"]
    assert [len(found[phase][0]) for phase in ("first", "warmup")] == [1, 2]
    at, values = found["query"]
    assert len(at) == found.facts["queries"] >= 20 and found.facts["stopped_by"] == "enough"
    assert (values > 0).all() and (np.diff(at) >= values[:-1]).all()
    # The last is the first that was issued after both minima.
    assert at[-1] - at[0] >= 0.05e9 or len(at) == 20
    assert len(at) == 20 or at[-2] - at[0] < 0.05e9 + 5e6
    assert found.facts["scenario"] == scenario and found.facts["samples"] == 3
    assert found.facts["elapsed_ns"] == at[-1] + values[-1] - at[0]  # no gap before the first
    assert found.facts["delegated"]["total"] > 0


def test_more_samples_take_a_query_longer(agent: list[str], digits: dict[str, Path]) -> None:
    few, many = (
        Answered(agent, digits, scenario="multi_stream", samples_per_query=size, **QUICK)
        for size in (1, 64)
    )
    assert np.median(many["query"][1]) > 10 * np.median(few["query"][1])


def test_offline_counts_samples_from_one_issue(agent: list[str], digits: dict[str, Path]) -> None:
    found = Answered(agent, digits, scenario="offline", **{**QUICK, "min_queries": 70})
    at, values = found["query"]
    assert len(set(at.tolist())) == 1 and (np.diff(values) > 0).all()
    assert found.facts["queries"] == len(values) >= 70 and values[-1] >= 0.05e9
    assert found.facts["elapsed_ns"] == values[-1]


@pytest.mark.parametrize("seed", [0, 2**62])
def test_both_have_the_same_arrivals(
    commands: dict[str, list[str]], digits: dict[str, Path], seed: int
) -> None:
    found = [
        Answered(command, digits, **{**SERVER, "min_queries": 60}, seed=seed)
        for command in commands.values()
    ]
    drawn = np.array(list(itertools.islice(arrivals(seed, 400.0), 60)))
    for answered in found:
        at, values = answered["query"]
        assert np.array_equal(at - at[0], drawn) and answered.facts["waiting"] == 0
        begun, took = answered["service"]
        # From the arrival to the answer: what came before it was begun is in it.
        assert np.array_equal(at + values, begun + took) and (begun >= at).all()
        assert (begun[1:] >= begun[:-1] + took[:-1]).all()


def test_above_its_capacity_the_queue_grows(agent: list[str], digits: dict[str, Path]) -> None:
    asked = {**SERVER, "target_qps": 1e6, "min_seconds": 0.2, "max_seconds": 0.3}
    found = Answered(agent, digits, **asked)
    assert found.facts["stopped_by"] == "max_seconds"
    _, values = found["query"]
    parts = [part.mean() for part in np.array_split(values, 10)]
    assert (np.diff(parts) > 0).all() and values[-1] > 0.2e9
    # 0.2 s of arrivals at this rate, less those that were answered, wait.
    assert found.facts["waiting"] + len(values) == pytest.approx(200_000, rel=0.02)
    _, took = found["service"]
    assert took.max() < values.max()


def test_rare_arrivals_are_waited_for_in_words(agent: list[str], digits: dict[str, Path]) -> None:
    seed = next(
        seed
        for seed in range(1000)
        if 2.2e9 < list(itertools.islice(arrivals(seed, 1.0), 2))[1] < 2.3e9
    )
    asked = {**SERVER, "target_qps": 1.0, "min_seconds": 0, "min_queries": 2, "seed": seed}
    found = Answered(agent, digits, **asked)
    assert any(message["type"] == "progress" for message in found.messages)
    assert len(found["query"][0]) == 2
    # The second came when nobody was waiting: it was begun at once.
    assert found["service"][0][1] - found["query"][0][1] < 0.2e9


def test_what_would_come_too_late_is_not_waited_for(
    agent: list[str], digits: dict[str, Path]
) -> None:
    begin = time.monotonic()
    found = Answered(agent, digits, **{**SERVER, "target_qps": 0.001, "max_seconds": 5})
    assert found.facts["stopped_by"] == "max_seconds" and found.facts["queries"] == 1
    assert time.monotonic() - begin < 5


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("scenario", "interactive"), ("scenario", None), ("target_qps", 0), ("target_qps", -1.5),
        ("target_qps", 1e9), ("target_qps", True), ("target_qps", None), ("latency_bound_ms", -1),
        ("latency_bound_ms", 0), ("min_queries", 0), ("min_queries", 1.5),
        ("min_queries", 1_000_001), ("min_seconds", -1), ("max_seconds", 0),
        ("max_seconds", 1e6), ("samples_per_query", 0), ("samples_per_query", 4096), ("seed", -1),
        ("seed", 2**62 + 2048), ("warmup_runs", -1), ("count", 0), ("count", 10**6),
        ("loadgen", "yes"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(
    commands: dict[str, list[str]], digits: dict[str, Path], key: str, value: object
) -> None:
    asked = request("scenario", digits["float32"], digits["samples"], **{**SERVER, key: value})
    one, other = (exchange(asked, command=command)[-1] for command in commands.values())
    assert (one["kind"], one["stage"]) == (other["kind"], other["stage"])
    assert one["kind"] == "bad_request" and one["stage"] == "scenario"
    assert key in one["message"] and key in other["message"]
    assert one["hint"] == other["hint"]


def test_a_server_needs_its_rate(commands: dict[str, list[str]], digits: dict[str, Path]) -> None:
    for key in ("target_qps", "latency_bound_ms"):
        asked = {name: value for name, value in SERVER.items() if name != key}
        for command in commands.values():
            (*_, last) = exchange(
                request("scenario", digits["float32"], digits["samples"], **asked),
                command=command,
            )
            assert last["kind"] == "bad_request" and f"{key} is wrong" in last["message"]


def test_it_ends_with_its_host(agent: list[str], digits: dict[str, Path]) -> None:
    process = AgentProcess(command=agent)
    asked = {**SERVER, "target_qps": 5, "min_seconds": 60}
    process.say(request("scenario", digits["float32"], digits["samples"], **asked))
    while process.hear()["type"] != "samples":
        pass
    assert process.process.stdin
    process.process.stdin.close()
    assert process.process.wait(10) == 3
    process.process.stdin = None
    process.close()


@pytest.mark.parametrize("scenario", ["single_stream", "multi_stream", "offline", "server"])
def test_loadgen_itself_runs_the_agent(digits: dict[str, Path], scenario: str) -> None:
    if importlib.util.find_spec("mlperf_loadgen") is None:
        needed("no mlcommons-loadgen")
    asked = {**SERVER, "scenario": scenario, "loadgen": True, "min_seconds": 0.3}
    found = Answered(command_of("python"), digits, **asked)
    assert found.phases == ["first", "warmup"] and found.facts["stopped_by"] == "loadgen"
    kept = found.facts["loadgen"]
    named = {"single_stream": "SingleStream", "multi_stream": "MultiStream"}
    assert f"Scenario : {named.get(scenario, scenario.capitalize())}" in kept["summary"]
    assert any(line.startswith("Result is : ") for line in kept["summary"])
    assert "min_duration (ms): 300" in kept["summary"] and kept["version"][0].isdigit()
    assert found.facts["queries"] >= 20 * (8 if scenario == "multi_stream" else 1)


def test_loadgen_draws_no_more_than_fits(digits: dict[str, Path]) -> None:
    if importlib.util.find_spec("mlperf_loadgen") is None:
        needed("no mlcommons-loadgen")
    asked = {**SERVER, "target_qps": 1e6, "min_seconds": 80_000, "loadgen": True}
    message = exchange(
        request("scenario", digits["float32"], digits["samples"], **asked),
        command=command_of("python"),
    )[-1]
    assert message["kind"] == "bad_request" and "8e+10 samples" in message["message"]


def test_without_loadgen_it_is_unsupported(digits: dict[str, Path]) -> None:
    asked = request("scenario", digits["float32"], digits["samples"], **SERVER, loadgen=True)
    bundle = command_of("python")[-1]
    code = "import runpy, sys; sys.modules['mlperf_loadgen'] = None; sys.argv = sys.argv[1:]; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    for command in ([sys.executable, "-c", code, bundle], command_of("native")):
        last = exchange(asked, command=command)[-1]
        assert last["kind"] == "unsupported" and "loadgen" in last["message"]
        assert "leave loadgen out" in last["hint"]
