"""Queries as MLPerf's scenarios send them: one agent process for each scenario."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.devices import messages
from harness.devices.session import Answer
from harness.domain import Device, DeviceKind, Policy, Scenario, Stage
from harness.domain.scenario import MAX_QUERIES
from harness.errors import ProtocolError, UnsupportedError
from harness.orchestrate.lane_job import LaneJob
from harness.orchestrate.passes.kind import Asking, Pass

#: Samples that queries take turns with: at most so many, and so many bytes as they are stored.
#: They are in the device's memory all the time.
_MOST_SAMPLES = 1024
_MOST_BYTES = 64_000_000


def run(asking: Asking) -> tuple[Answer, Mapping[str, Any]]:
    """Ask for the scenario of this part; its raw latencies reach the store as they arrive."""
    policy, name = asking.policy, asking.device.name
    scenario = Scenario.parse(policy.scenarios[asking.part])
    runner = asking.device.runner(asking.item.job.backend)
    if runner != "agent":
        raise UnsupportedError(
            f"{name}: {runner} answers no queries",
            hint="scenarios need a backend of the agent, such as cpu x1",
        )
    data = asking.item.ready.data
    row = max(1, data.samples.size // max(1, data.count))
    counts = dict.fromkeys(messages.SCENARIO_PHASES, 0)
    seq = 0

    def on_message(message: dict[str, Any], answer: Answer) -> None:
        nonlocal seq
        phase, at, values = messages.samples(message, name, messages.SCENARIO_PHASES)
        counts[phase] += len(values)
        if not answer.loaded or counts[phase] > MAX_QUERIES:
            raise ProtocolError(f"{name}: more samples than were asked for, or before loaded")
        asking.store.append_samples(asking.trial_id, seq, phase, at, values)
        seq += 1

    answer = asking.session.ask(
        {
            **asking.request("scenario"),
            **scenario.as_request(),
            "warmup_runs": policy.warmup_runs,
            "warmup_seconds": policy.warmup_seconds,
            "seed": policy.seed,
            "count": min(data.count, _MOST_SAMPLES, max(1, _MOST_BYTES // row)),
        },
        on_message,
        purpose=Stage.SCENARIOS,
        silence=policy.silence_timeout,
        longest=2 * scenario.max_seconds + policy.warmup_seconds + 2 * policy.silence_timeout,
    )
    _check(scenario, answer, counts, name)
    return answer, {"asked": scenario.text}


def _check(scenario: Scenario, answer: Answer, counts: Mapping[str, int], name: str) -> None:
    """What the agent says of its samples must agree with them; ``ProtocolError``."""
    facts = answer.facts
    whole = [facts.get("queries"), facts.get("waiting", 0), facts.get("elapsed_ns", 0)]
    good = (
        bool(answer.loaded)
        and all(type(number) is int and 0 <= number < 1 << 62 for number in whole)
        and isinstance(facts.get("stopped_by"), str)
    )
    if scenario.loadgen:
        found = facts.get("loadgen")
        good = (
            good
            and isinstance(found, dict)
            and isinstance(found.get("version"), str)
            and isinstance(found.get("summary"), list)
            and all(isinstance(line, str) for line in found["summary"])
        )
    else:
        served = counts["query"] if scenario.name == "server" else 0
        good = good and facts["queries"] == counts["query"] and counts["service"] == served
    if not good:
        raise ProtocolError(
            f"{name}: the facts of {scenario.name} do not fit its samples: {str(facts)[:160]}"
        )


def _wanted(device: Device, _item: LaneJob) -> bool:
    """Not of an emulated device: what its processor takes for an answer is no latency."""
    return device.kind is not DeviceKind.EMULATED


def _parts(policy: Policy) -> int:
    return len(policy.scenarios)


PASS = Pass(Stage.SCENARIOS, run, _wanted, _parts)
