"""Times of single operators, by the profiler of whatever runs the model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from harness.devices import messages
from harness.devices.session import Answer
from harness.domain import DeviceKind, Stage
from harness.errors import (
    AgentReportedError,
    ModelError,
    ProtocolError,
    UnsupportedError,
)
from harness.metrics.profile import join
from harness.orchestrate.passes.kind import Asking, Pass
from harness.simulation import Graph, read_graph


def run(asking: Asking) -> tuple[Answer, Mapping[str, Any]]:
    """Ask for the profile and join it with the variant's graph: the fact ``operators``.

    A profile that cannot be had or read costs a job nothing else: ``UnsupportedError`` says why.
    """
    policy, name = asking.policy, asking.device.name
    heard: list[dict[str, Any]] = []

    def on_message(message: dict[str, Any], _answer: Answer) -> None:
        if message["type"] != "operators" or heard:
            raise ProtocolError(f"{name}: {str(message['type'])[:60]!r} where one profile was due")
        heard.append(messages.profile(message, name))

    try:
        answer = asking.session.ask(
            {
                **asking.request("operators"),
                "runs": policy.operator_runs,
                "warmup_runs": policy.warmup_runs,
                "warmup_seconds": policy.warmup_seconds,
                "max_runs": policy.max_runs,
                "max_seconds": policy.max_seconds,
            },
            on_message,
            purpose=Stage.OPERATORS,
            silence=policy.silence_timeout,
        )
        if not heard:
            raise ProtocolError(f"{name}: an answer without a profile")
    except (AgentReportedError, ProtocolError) as error:
        raise UnsupportedError(f"no profile: {error.message}", hint=error.hint) from error
    summary = answer.summary or {}
    whole = summary.get("median") or summary.get("mean")
    if heard[0]["elapsed"] is None and whole:
        # Of the same runs, as the tool's statistics have them, in us.
        heard[0]["elapsed"] = [round(whole * 1000)]
    path = asking.item.ready.variant.path
    graph, note = _graph(path, path.stat().st_mtime_ns)
    timed = asking.device.kind is not DeviceKind.EMULATED
    return answer, {"operators": join(heard[0], graph, timed=timed, note=note).as_json()}


@lru_cache(maxsize=1)
def _graph(path: Path, _changed: int) -> tuple[Graph | None, str]:
    """The graph of a variant, or why there is none; the same for all devices in turn."""
    try:
        return read_graph(path), ""
    except ModelError as error:
        return None, f"the file cannot be read here: {error.one_line}"


PASS = Pass(Stage.OPERATORS, run)
