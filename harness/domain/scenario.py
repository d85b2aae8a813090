"""Queries as a user would send them: the scenarios that MLPerf Inference knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.domain.parameters import Parameter, read_call, written
from harness.errors import UsageError, suggest

#: The highest number of queries (offline: samples) of one scenario.
MAX_QUERIES = 1_000_000

#: Least number of queries by scenario. 662 is what early stopping needs to speak of a 99th
#: percentile if one query is too late; mlperf.conf has it for multi stream, and loadgen takes 100
#: where nothing is said. Offline counts samples; submissions have 24,576.
_MIN_QUERIES = {"single_stream": 100, "multi_stream": 662, "server": 662, "offline": 100}


def _parameters(name: str) -> dict[str, Parameter]:
    own: tuple[Parameter, ...] = ()
    if name == "multi_stream":
        own = (Parameter("samples_per_query", 8, "samples of each query", 1, 1024),)
    if name == "server":
        own = (
            Parameter("target_qps", 0.0, "arrivals per second, on average", 1e-3, 1e6),
            Parameter("latency_bound_ms", 0.0, "most of the 99th percentile", 1e-6, 1e6),
        )
    common = (
        Parameter("min_seconds", 2.0, "queries are issued for at least so long", 0, 86_400),
        Parameter("min_queries", _MIN_QUERIES[name], "and at least so many", 1, MAX_QUERIES),
        Parameter("max_seconds", 60.0, "the end in any case", 1e-3, 86_400),
        Parameter("loadgen", False, "under MLCommons' load generator, on the device"),
    )
    return {parameter.name: parameter for parameter in own + common}


#: Scenario -> its parameters by name.
SCENARIOS = {name: _parameters(name) for name in _MIN_QUERIES}


@dataclass(frozen=True, slots=True)
class Scenario:
    """A scenario with its parameters; ``text`` is the shortest that means it.

    ``single_stream``: one query of one sample after the other. ``multi_stream``: the same with
    ``samples_per_query``. ``offline``: one query of as many samples as it takes. ``server``:
    queries of one sample arrive at random, ``target_qps`` per second on average, and 99 % are to be
    answered within ``latency_bound_ms``. See https://github.com/mlcommons/inference_policies.
    """

    name: str
    samples_per_query: int = 1
    target_qps: float = 0.0
    latency_bound_ms: float = 0.0
    min_seconds: float = 2.0
    min_queries: int = 100
    max_seconds: float = 60.0
    loadgen: bool = False

    @classmethod
    def parse(cls, text: str) -> Scenario:
        """From ``server(target_qps=50, latency_bound_ms=20)``; raises ``UsageError``."""
        name, settings = read_call("scenario", text, "server(target_qps=50, latency_bound_ms=20)")
        if name not in SCENARIOS:
            raise UsageError(f"unknown scenario {name!r}", hint=suggest(name, SCENARIOS))
        known = SCENARIOS[name]
        for key in settings:
            if key not in known:
                raise UsageError(
                    f"scenario {name} has no parameter {key!r}", hint=suggest(key, known)
                )
        values: dict[str, Any] = {
            key: parameter.check(f"scenario {name}", settings[key])
            if key in settings
            else parameter.default
            for key, parameter in known.items()
        }
        for key in ("target_qps", "latency_bound_ms"):
            if key in known and key not in settings:
                raise UsageError(
                    f"scenario {name} needs {key}",
                    hint='for example "server(target_qps=50, latency_bound_ms=20)"',
                )
        found = cls(name, **values)  # each was checked
        if found.min_seconds > found.max_seconds:
            raise UsageError(
                f"scenario {name}: min_seconds ({found.min_seconds:g}) is above max_seconds "
                f"({found.max_seconds:g})"
            )
        return found

    @property
    def text(self) -> str:
        """The shortest text that means it: only what differs from the defaults."""
        return written(
            self.name,
            {
                key: getattr(self, key)
                for key, parameter in SCENARIOS[self.name].items()
                if getattr(self, key) != parameter.default
            },
        )

    @property
    def percentile(self) -> float | None:
        """Of latencies, in MLPerf's result: 0.90 or 0.99; offline has none."""
        return {"single_stream": 0.90, "offline": None}.get(self.name, 0.99)

    def as_request(self) -> dict[str, bool | int | float | str]:
        """The keys of a request, see the protocol."""
        keys = [key for key in SCENARIOS[self.name] if key != "loadgen" or self.loadgen]
        return {"scenario": self.name, **{key: getattr(self, key) for key in keys}}
