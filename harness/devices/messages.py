"""What an agent says, checked: nothing that a device sends is trusted."""

from __future__ import annotations

import math
from collections.abc import Collection
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_agents.python import wire
from harness.errors import (
    AcceleratorBusyError,
    AgentError,
    AgentReportedError,
    AgentSetupError,
    ProtocolError,
    UnsupportedError,
)

#: Strings of a device longer than this are cut; control characters never get through.
MAX_TEXT = 2000

_SETUP = {"no_numpy", "no_runtime", "numpy_mismatch", "accelerator_unavailable"}
_UNSUPPORTED = {"unsupported", "unsupported_accelerator"}
_WARMUP_ENDS = ("steady", "max_seconds", "max_runs", "minimum")
_MAX_NS = 1 << 62
#: Of an interval, which lasts seconds: far above what any device can do in it.
_MAX_RUNS = 1 << 40
#: Each phase with its unit, and the bounds of its values.
_PHASES: dict[str, tuple[str, int, int]] = {
    "first": ("ns", 0, _MAX_NS),
    "warmup": ("ns", 0, _MAX_NS),
    "measure": ("ns", 0, _MAX_NS),
    "query": ("ns", 0, _MAX_NS),
    "service": ("ns", 0, _MAX_NS),
    "idle": ("ns", 0, _MAX_NS),
    "sustained": ("ns", 0, _MAX_NS),
    "interval": ("ns", 0, _MAX_NS),
    "runs": ("count", 1, _MAX_RUNS),
    "temperature": ("m°C", -100_000, 300_000),
    "frequency": ("kHz", 1, 100_000_000),
    "power": ("µW", 0, 100_000_000_000),
}
#: The phases of a latency trial, of a scenario, and of a trial under load.
TIMED = ("first", "warmup", "measure")
SCENARIO_PHASES = ("first", "warmup", "query", "service")
LOAD = ("first", "idle", "sustained", "interval", "runs", "temperature", "frequency", "power")
_MAX_SIZE = 1 << 24
_MAX_OPERATORS = 20_000


def decode(line: bytes, device: str) -> dict[str, Any]:
    """One line as a message; raises ``ProtocolError`` that shows it."""
    try:
        message: dict[str, Any] = wire.decode(line)
    except wire.WireError as error:
        raise ProtocolError(
            f"{device}: the agent wrote what is not of the protocol: {error}",
            hint="does something on the device print to the agent's stdout?",
        ) from None
    if not isinstance(message.get("type"), str):
        raise ProtocolError(f"{device}: a message without a type: {line[:120]!r}")
    return message


def clean(value: Any, depth: int = 0) -> Any:
    """A JSON value with bounded depth, bounded strings and no control characters."""
    if value is None or type(value) is int:  # most are
        return value
    if isinstance(value, str):
        if len(value) <= MAX_TEXT and value.isprintable():
            return value
        return "".join(c if c.isprintable() else "\ufffd" for c in value[:MAX_TEXT])
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if depth > 5:
        return None
    if isinstance(value, dict):
        return {clean(str(k), depth): clean(v, depth + 1) for k, v in list(value.items())[:200]}
    if isinstance(value, list):
        return [clean(item, depth + 1) for item in value[:200]]
    return value


def check_hello(message: dict[str, Any], device: str) -> dict[str, Any]:
    """The hello message, cleaned; raises ``ProtocolError``."""
    if message["type"] != "hello" or message.get("protocol") != wire.PROTOCOL_VERSION:
        raise ProtocolError(
            f"{device}: expected a hello of protocol {wire.PROTOCOL_VERSION}, got "
            f"{clean(str(message))[:160]}",
            hint="use a host and an agent of the same release",
        )
    hello = clean(message)
    runtime = hello.get("runtime")
    if runtime is not None and not (
        isinstance(runtime, dict)
        and isinstance(runtime.get("name"), str)
        and isinstance(runtime.get("version"), str)
    ):
        raise ProtocolError(f"{device}: hello without a proper runtime")
    for key in ("platform", "clock"):
        if not isinstance(hello.get(key), dict):
            raise ProtocolError(f"{device}: hello without {key}")
    step = hello["clock"].get("resolution_ns")
    if step is not None and (type(step) not in (int, float) or not 0 <= step < _MAX_NS):
        raise ProtocolError(f"{device}: hello with a clock of {str(step)[:60]}")
    return dict(hello)


def reported(message: dict[str, Any], device: str) -> AgentError | UnsupportedError:
    """The exception for an ``error`` message."""
    kind = str(message.get("kind"))
    text = f"{device}: {clean(str(message.get('message', 'no reason given')))}"
    hint = clean(str(message.get("hint") or "")) or None
    if kind in _SETUP:
        return AgentSetupError(text, hint=hint)
    if kind == "accelerator_busy":
        return AcceleratorBusyError(text, hint=hint)
    if kind in _UNSUPPORTED:
        return UnsupportedError(text, hint=hint)
    return AgentReportedError(text, hint=hint)


def samples(
    message: dict[str, Any], device: str, phases: Collection[str] = TIMED
) -> tuple[str, NDArray[np.int64], NDArray[np.int64]]:
    """Phase, start times in ns and values in the phase's unit, both (n,).

    Raises ``ProtocolError``, for any but these ``phases`` too.
    """
    phase, at, values = message.get("phase"), message.get("at"), message.get("values")
    known = isinstance(phase, str) and phase in phases
    unit, low, high = _PHASES[str(phase)] if known else ("", 0, 0)
    good = (
        known
        and message.get("unit") == unit
        and isinstance(at, list)
        and isinstance(values, list)
        and len(at) == len(values) > 0
        and all(type(n) is int and 0 <= n < _MAX_NS for n in at)
        and all(type(n) is int and low <= n < high for n in values)
    )
    if not good:
        raise ProtocolError(f"{device}: samples that make no sense: {clean(str(message))[:160]}")
    return str(phase), np.asarray(at, dtype=np.int64), np.asarray(values, dtype=np.int64)


def outputs(
    message: dict[str, Any], device: str, count: int, asked: Collection[int] = (0,)
) -> tuple[int, int, NDArray[Any]]:
    """Which output, offset of the first sample, and outputs (n, ...); ``ProtocolError``."""
    offset, shape, dtype = message.get("offset"), message.get("shape"), message.get("dtype")
    tensor = message.get("tensor", 0)
    try:
        if (
            type(tensor) is not int
            or tensor not in asked
            or type(offset) is not int
            or not isinstance(shape, list)
            or not 1 <= len(shape) <= 8
            or not all(type(size) is int and 0 < size <= _MAX_SIZE for size in shape)
            or dtype not in wire.DTYPES
            or not 0 <= offset <= offset + shape[0] <= count
        ):
            raise ValueError
        data = wire.unpack(message.get("data"))
        if len(data) != prod(shape) * np.dtype(dtype).itemsize:
            raise ValueError
        return tensor, offset, np.frombuffer(data, dtype=dtype).reshape(shape)
    except ValueError:
        seen = {key: message.get(key) for key in ("tensor", "offset", "shape", "dtype")}
        raise ProtocolError(f"{device}: outputs that make no sense: {clean(str(seen))}") from None


def operators(message: dict[str, Any], device: str) -> list[dict[str, Any]]:
    """Operators in the order of execution, times in ns; raises ``ProtocolError``."""
    found: list[dict[str, Any]] = profile(message, device)["operators"]
    return found


def profile(message: dict[str, Any], device: str) -> dict[str, Any]:
    """The message ``operators``: ``runs``, ``resolution_ns``, ``elapsed``, ``operators``.

    ``elapsed`` and the ``times`` of an operator have one value per run, or are ``None``. Raises
    ``ProtocolError``.
    """
    found, runs = message.get("operators"), message.get("runs")
    step, elapsed = message.get("resolution_ns"), message.get("elapsed")
    good = (
        message.get("unit") == "ns"
        and type(runs) is int
        and 0 < runs < _MAX_NS
        and (step is None or (type(step) in (int, float) and 0 <= step < _MAX_NS))
        and (elapsed is None or _are_times(elapsed, runs))
        and isinstance(found, list)
        and len(found) <= _MAX_OPERATORS
        and all(map(_is_operator, found))
        and all(op.get("times") is None or _are_times(op["times"], runs) for op in found)
    )
    if not good:
        raise ProtocolError(f"{device}: operators that make no sense: {clean(str(message))[:160]}")
    assert isinstance(found, list)
    keys = ("name", "node", "graph", "time", "calls", "delegated")
    return {
        "runs": runs,
        "resolution_ns": step,
        "elapsed": elapsed,
        "operators": [
            {**{key: clean(operator.get(key)) for key in keys}, "times": operator.get("times")}
            for operator in found
        ],
    }


def _are_times(values: object, runs: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) == runs
        and all(type(value) is int and 0 <= value < _MAX_NS for value in values)
    )


def _is_operator(operator: object) -> bool:
    if not isinstance(operator, dict):
        return False
    places = (operator.get("node"), operator.get("graph"))
    delegated = operator.get("delegated")
    return (
        isinstance(operator.get("name"), str)
        and all(at is None or (type(at) is int and 0 <= at < _MAX_SIZE) for at in places)
        and all(
            type(operator.get(k)) is int and 0 <= operator[k] < _MAX_NS for k in ("time", "calls")
        )
        and (delegated is None or type(delegated) is bool)
    )


def loaded(message: dict[str, Any], device: str) -> dict[str, Any]:
    """Load and init time and the tensors; raises ``ProtocolError``."""
    for key in ("load_ns", "init_ns"):
        if type(message.get(key)) is not int or not 0 <= message[key] < _MAX_NS:
            raise ProtocolError(f"{device}: loaded without a proper {key}")
    for tensor in (message.get("inputs"), message.get("outputs")):
        if not isinstance(tensor, list) or not tensor or not all(map(_is_spec, tensor)):
            raise ProtocolError(f"{device}: loaded without proper inputs and outputs")
    return {
        "load_ns": message["load_ns"],
        "init_ns": message["init_ns"],
        "inputs": clean(message.get("inputs")),
        "outputs": clean(message.get("outputs")),
    }


def _is_spec(tensor: object) -> bool:
    if not isinstance(tensor, dict):
        return False
    scale, zero_point = tensor.get("scale"), tensor.get("zero_point")
    shape = tensor.get("shape")
    return (
        isinstance(scale, (int, float))
        and math.isfinite(scale)
        and type(zero_point) is int
        and isinstance(tensor.get("name"), str)
        and isinstance(tensor.get("dtype"), str)
        and isinstance(shape, list)
        and len(shape) <= 8
        and all(type(size) is int and -1 <= size <= _MAX_SIZE for size in shape)
    )


def done_facts(message: dict[str, Any], device: str) -> dict[str, Any]:
    """The facts of ``done``, cleaned, the ones that metrics use checked."""
    facts = clean(message.get("facts"))
    if not isinstance(facts, dict):
        raise ProtocolError(f"{device}: done without facts")
    facts.pop("summary", None)  # an agent sends samples
    memory = facts.get("memory_peak_bytes", {})
    resident = facts.get("memory_resident_bytes", {})
    threads = [facts.get("threads_asked"), facts.get("threads_found")]
    if not (isinstance(memory, dict) and isinstance(resident, dict)) or not all(
        value is None or (type(value) is int and 0 <= value < 1 << 50)
        for value in [*memory.values(), *resident.values(), *threads]
    ):
        raise ProtocolError(f"{device}: facts that make no sense: {str(facts)[:160]}")
    _check_delegated(facts.get("delegated"), device)
    _check_conditions(facts.get("conditions"), device)
    _check_warmup(facts.get("warmup"), device)
    return facts


#: Each key of ``conditions`` with its bounds; those of whole numbers are integers.
_CONDITIONS: dict[str, tuple[float, float]] = {
    "at": (0, _MAX_NS),
    "busy_s": (0.0, 1e12),
    "own_s": (0.0, 1e12),
    "frequency_mhz": (0.0, 1e6),
    "frequency_max_mhz": (0.0, 1e6),
    "temperature_c": (-100.0, 300.0),
    "involuntary_switches": (0, _MAX_NS),
    "processors": (1, 1 << 16),
}


def _check_conditions(conditions: object, device: str) -> None:
    if conditions is None:
        return
    if not isinstance(conditions, dict) or not all(
        _are_conditions(conditions.get(when)) for when in ("before", "after")
    ):
        raise ProtocolError(f"{device}: conditions that make no sense: {str(conditions)[:200]}")


def _are_conditions(found: object) -> bool:
    return isinstance(found, dict) and all(
        found.get(key) is None
        or (
            type(found[key]) in ((int,) if isinstance(low, int) else (int, float))
            and low <= found[key] <= high
        )
        for key, (low, high) in _CONDITIONS.items()
    )


def _check_warmup(warmup: object, device: str) -> None:
    """Agents of old say nothing of it."""
    if warmup is None:
        return
    if (
        not isinstance(warmup, dict)
        or not any(warmup.get("steady") is known for known in (True, False, None))
        or type(warmup.get("runs")) is not int
        or not 0 <= warmup["runs"] < 1 << 32
        or warmup.get("reason") not in _WARMUP_ENDS
    ):
        raise ProtocolError(f"{device}: warmup that makes no sense: {str(warmup)[:160]}")


def _check_delegated(delegated: object, device: str) -> None:
    if delegated is None:
        return
    counts = ("nodes", "total", "partitions")
    if (
        not isinstance(delegated, dict)
        or not isinstance(delegated.get("accelerator"), str)
        or not all(
            delegated.get(key) is None
            or (type(delegated[key]) is int and 0 <= delegated[key] < _MAX_SIZE)
            for key in counts
        )
    ):
        raise ProtocolError(f"{device}: delegated that makes no sense: {str(delegated)[:160]}")
