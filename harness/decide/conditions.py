"""Under what a number was measured: all that is recorded and may explain that it changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.store import JobRecord, RunRecord

#: What a device says of itself that differs from one moment to the next, or is software.
_NOT_THE_DEVICE = ("temperature_c", "python", "executable")

#: Packages of the host that decide how is measured.
_MEASURING = ("edge-harness",)


@dataclass(frozen=True, slots=True)
class Conditions:
    """Facts by name: of the runtime, of the device, of the measuring; and the variant's sha256."""

    variant: str
    runtime: Mapping[str, str]
    device: Mapping[str, str]
    measuring: Mapping[str, str]


def conditions(record: JobRecord, run: RunRecord) -> Conditions:
    """What the records say."""
    facts = record.facts
    platform = _mapping(facts.get("platform"))
    agent = " ".join(str(part) for part in facts.get("agent") or () if part)
    delegated = _mapping(facts.get("delegated"))
    runtime = {
        "runtime": f"{record.runtime or ''} {record.runtime_version or ''}".strip(),
        "agent": agent,
        "numpy": facts.get("numpy"),
        "python": platform.get("python"),
        "delegate's library": delegated.get("library"),
        "delegated operators": _of(delegated.get("nodes"), delegated.get("total")),
    }
    device = {key: value for key, value in platform.items() if key not in _NOT_THE_DEVICE}
    packages = _mapping(run.environment.get("packages"))
    measuring = {
        **{name: packages.get(name) for name in _MEASURING},
        **{f"Policy {k}": v for k, v in _mapping(run.suite.get("policy")).items()},
        "dataset": _short(facts.get("dataset_sha256")),
        "labels": _short(facts.get("labels_sha256")),
    }
    return Conditions(
        record.variant_sha256 or "", _texts(runtime), _texts(device), _texts(measuring)
    )


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> Iterator[str]:
    """``name: before, then after`` for what both know and is not the same."""
    for name in one:
        if name in other and one[name] != other[name]:
            yield f"{name} {one[name]}, then {other[name]}"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value)[:120] for key, value in values.items() if value not in (None, "")}


def _of(nodes: Any, total: Any) -> str:
    return f"{nodes} of {total}" if nodes is not None and total is not None else ""


def _short(sha256: Any) -> str:
    return str(sha256)[:12] if sha256 else ""
