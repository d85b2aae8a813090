"""MLPerf's scenarios: from raw query latencies to a result and whether it is valid.

Definitions: MLPerf Inference rules, "Scenarios" and appendix "Early stopping criterion"
(https://github.com/mlcommons/inference_policies/blob/master/inference_rules.adoc); how they are
computed: ``PerformanceSummary`` in ``loadgen/results.cc`` of https://github.com/mlcommons/inference.
The bounds are the user's, by default seconds and not the 10 minutes of a submission, so a result
is never an official one.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.domain import Direction, Measurement, Scenario
from harness.metrics.observations import Observations, TrialObservation
from harness.stats import early_stopping_estimate, needed_queries

MS = 1e-6  # ns -> ms

VALID, INVALID, UNSUPPORTED = "VALID", "INVALID", "unsupported"

#: Of a result: its latencies in ms and rates per second, ``None`` where there is none.
NUMBERS = ("value", "early_stopping_ms", "mean_ms", "p50_ms", "p90_ms", "p99_ms", "max_ms",
           "samples_per_second", "scheduled_qps", "completed_qps")  # fmt: skip

#: What stands for a scenario: the measurement's name, its unit, and which direction is better.
MAIN = {
    "single_stream": ("p90", "ms", Direction.LOWER),
    "multi_stream": ("p99", "ms", Direction.LOWER),
    "server": ("p99", "ms", Direction.LOWER),
    "offline": ("throughput", "samples/s", Direction.HIGHER),
}


def measure(observations: Observations) -> tuple[Measurement, ...]:
    """``single_stream_p90``, ``multi_stream_p99``, ``server_p99`` in ms, ``offline_throughput``.

    ``server_qps`` beside the third: queries completed per second. The second scenario of a kind
    is ``server_2_p99``. ``results`` says whether they are valid; there is one process for each,
    so there are no intervals.
    """
    found: list[Measurement] = []
    seen: Counter[str] = Counter()
    for result in results(observations):
        name = result["name"]
        seen[name] += 1
        prefix = name if seen[name] == 1 else f"{name}_{seen[name]}"
        suffix, unit, better = MAIN[name]
        count = result["queries"]
        if result["value"] is not None:
            found.append(Measurement(f"{prefix}_{suffix}", result["value"], unit, better, count))
        if result["completed_qps"] is not None:
            found.append(
                Measurement(
                    f"{prefix}_qps", result["completed_qps"], "1/s", Direction.HIGHER, count
                )
            )
    return tuple(found)


def results(observations: Observations) -> list[dict[str, Any]]:
    """A result for each scenario that was asked for, as JSON values.

    ``scenario`` (its text), ``name``, ``verdict`` (``VALID``, ``INVALID`` or ``unsupported``) with
    its ``reasons``, ``measured_by`` (``agent``, or ``loadgen`` with its version), ``queries``,
    ``samples``, ``over_bound``, and ``NUMBERS``.
    """
    texts = observations.policy.scenarios
    found = []
    for trial in observations.passes.get("scenarios", ()):
        part = trial.facts.get("part")
        if type(part) is int and 0 <= part < len(texts):
            found.append((part, _result(Scenario.parse(texts[part]), trial)))
    return [result for _, result in sorted(found, key=lambda pair: pair[0])]


def summaries(observations: Observations) -> dict[str, str]:
    """What loadgen itself wrote: name of an artifact -> text of ``mlperf_log_summary.txt``."""
    return {
        f"loadgen_{trial.facts['part']}": "\n".join(trial.facts["loadgen"]["summary"]) + "\n"
        for trial in observations.passes.get("scenarios", ())
        if trial.facts.get("loadgen")
    }


def _result(scenario: Scenario, trial: TrialObservation) -> dict[str, Any]:
    result: dict[str, Any] = {
        "scenario": scenario.text,
        "name": scenario.name,
        "verdict": UNSUPPORTED,
        "reasons": [],
        "measured_by": "agent",
        "queries": 0,
        "samples": 0,
        "over_bound": None,
        **dict.fromkeys(NUMBERS),
    }
    if trial.facts.get("unsupported"):
        return {**result, "reasons": [trial.facts["unsupported"]]}
    if trial.facts.get("loadgen"):
        return result | _of_loadgen(scenario, trial.facts)
    latencies = trial.phases.get("query", np.empty(0, np.int64)).astype(np.float64) * MS
    if not len(latencies):
        return {**result, "verdict": INVALID, "reasons": ["no query was answered"]}
    at = trial.at["query"].astype(np.float64) / 1e9
    if scenario.name == "offline":
        numbers, reasons = _offline(scenario, latencies)
    else:
        numbers, reasons = _latencies(scenario, latencies, at)
    reasons += _bounds(scenario, trial.facts, len(latencies))
    return {
        **result,
        "verdict": INVALID if reasons else VALID,
        "reasons": reasons,
        "queries": 1 if scenario.name == "offline" else len(latencies),
        "samples": len(latencies) * scenario.samples_per_query,
        **numbers,
    }


def percentile_of(values: NDArray[np.float64], share: float) -> float:
    """Loadgen's percentile of ``values`` (n,): the one at ``n * share`` of them in order."""
    return float(np.sort(values)[min(len(values) - 1, int(len(values) * share))])


def _latencies(
    scenario: Scenario, latencies: NDArray[np.float64], at: NDArray[np.float64]
) -> tuple[dict[str, Any], list[str]]:
    """Numbers and what makes them invalid; latencies in ms, ``at`` in s, both (n,)."""
    share = scenario.percentile
    assert share is not None
    reasons: list[str] = []
    count, issued = len(latencies), float(at[-1] - at[0])
    numbers: dict[str, Any] = {
        "value": percentile_of(latencies, share),
        "mean_ms": float(latencies.mean()),
        "p50_ms": percentile_of(latencies, 0.5),
        "p90_ms": percentile_of(latencies, 0.9),
        "p99_ms": percentile_of(latencies, 0.99),
        "max_ms": float(latencies.max()),
    }
    finished = float((at + latencies / 1e3).max() - at[0])
    samples = count * scenario.samples_per_query
    numbers["samples_per_second"] = samples / finished if finished else None
    # Loadgen's duration. The last issue would be too early: agents count min_seconds from just
    # before the first.
    if finished < scenario.min_seconds:
        reasons.append(
            f"{finished:.9g} s from the first issue to the last answer, "
            f"not {scenario.min_seconds:g} s"
        )
    if scenario.name != "server":
        numbers["early_stopping_ms"] = early_stopping_estimate(latencies, share)
        if numbers["early_stopping_ms"] is None:
            reasons.append(
                f"early stopping: {count} queries, and {needed_queries(1, share)} are needed"
            )
        return numbers, reasons
    # Both rates leave the last query out: it is the open end of the time.
    numbers["scheduled_qps"] = (count - 1) / issued if issued else None
    numbers["completed_qps"] = (count - 1) / finished if finished else None
    late = int((latencies > scenario.latency_bound_ms).sum())
    numbers["over_bound"] = late
    if numbers["value"] > scenario.latency_bound_ms:
        reasons.append(
            f"99th percentile {numbers['value']:.4g} ms is above the bound of "
            f"{scenario.latency_bound_ms:g} ms: reduce target_qps"
        )
    elif (needed := needed_queries(late, share)) > count:
        reasons.append(
            f"early stopping: {late} of {count} queries above the bound, which takes "
            f"{needed} queries: raise min_queries"
        )
    return numbers, reasons


def _offline(
    scenario: Scenario, latencies: NDArray[np.float64]
) -> tuple[dict[str, Any], list[str]]:
    """Samples per second until the last one was done; latencies in ms since the query."""
    seconds = float(latencies.max()) / 1e3
    rate = len(latencies) / seconds if seconds else None
    short = seconds < scenario.min_seconds
    return {"value": rate, "samples_per_second": rate}, (
        [f"done after {seconds:.3g} s, not {scenario.min_seconds:g} s"] if short else []
    )


def _bounds(scenario: Scenario, facts: Mapping[str, Any], count: int) -> list[str]:
    """Why too few queries were answered."""
    reasons = []
    noun = "samples" if scenario.name == "offline" else "queries"
    if count < scenario.min_queries:
        reasons.append(f"{count} {noun}, not {scenario.min_queries}")
    if facts["stopped_by"] == "max_seconds":
        waiting = f", {facts['waiting']} queries in the queue" if facts.get("waiting") else ""
        reasons.append(f"ended by max_seconds ({scenario.max_seconds:g} s){waiting}")
    elif facts["stopped_by"] != "enough":
        reasons.append(f"ended by {facts['stopped_by']}")
    return reasons


_LINES = {
    "p50_ms": (r"50\.00 percentile latency \(ns\)\s*: (\d+)", MS),
    "p90_ms": (r"90\.00 percentile latency \(ns\)\s*: (\d+)", MS),
    "p99_ms": (r"99\.00 percentile latency \(ns\)\s*: (\d+)", MS),
    "mean_ms": (r"Mean latency \(ns\)\s*: (\d+)", MS),
    "max_ms": (r"Max latency \(ns\)\s*: (\d+)", MS),
    "samples_per_second": (r"Samples per second\s*: ([\d.e+]+)", 1.0),
    "scheduled_qps": (r"Scheduled samples per second\s*: ([\d.e+]+)", 1.0),
    "completed_qps": (r"Completed samples per second\s*: ([\d.e+]+)", 1.0),
}


def _of_loadgen(scenario: Scenario, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A result from the lines of loadgen's summary, its verdict as it is."""
    lines: Sequence[str] = facts["loadgen"]["summary"]
    text = "\n".join(lines)
    numbers: dict[str, Any] = {}
    for key, (pattern, factor) in _LINES.items():
        numbers[key] = _number(rf"^{pattern}$", text, factor)
    share = scenario.percentile
    if share is None:
        numbers["value"] = numbers["samples_per_second"]
        for key in ("p50_ms", "p90_ms", "p99_ms", "mean_ms", "max_ms"):
            numbers[key] = None  # of one query: no latencies of their own
    else:
        numbers["value"] = numbers[f"p{share * 100:.0f}_ms"]
        pattern = rf"Early stopping {share * 100:.0f}(?:\.0)?th percentile estimate: (\d+)"
        numbers["early_stopping_ms"] = _number(pattern, text, MS)
    verdict = re.search(r"^Result is : (VALID|INVALID)$", text, re.MULTILINE)
    failed = [
        line.split(":")[0].strip().removesuffix(" satisfied") + " not satisfied"
        for line in lines
        if re.match(r"  [A-Z][a-z ]+ satisfied\s*: NO", line)
    ]
    errors = next((line for line in lines if re.fullmatch(r"\d+ ERRORS? encountered.*", line)), "")
    queries = facts["queries"] // scenario.samples_per_query
    return {
        "verdict": verdict[1] if verdict else INVALID,
        "reasons": [
            *(failed if verdict else ["loadgen's summary has no result"]),
            *([f"it says itself: {errors}"] if errors else []),
        ],
        "measured_by": f"loadgen {facts['loadgen']['version']}",
        "queries": 1 if scenario.name == "offline" else queries,
        "samples": facts["queries"],
        **numbers,
    }


def _number(pattern: str, text: str, factor: float) -> float | None:
    match = re.search(pattern, text, re.MULTILINE)
    try:
        return float(match[1]) * factor if match else None
    except ValueError:
        return None
