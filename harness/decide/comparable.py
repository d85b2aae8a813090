"""What must be the same for two jobs' numbers to be comparable."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from harness.domain import DeviceKind
from harness.store import JobRecord

#: What may be allowed to differ, by the name it is allowed with.
ALLOWED = ("kind", "device", "runtime", "agent", "backend", "threads", "governor", "cores")


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that is not the same on both sides: its name and both values in words."""

    name: str
    base: str
    head: str

    def __str__(self) -> str:
        return f"{self.name} {self.base} against {self.head}"


def differences(base: JobRecord, head: JobRecord) -> list[Difference]:
    """What differs between two jobs and would be taken for an effect of what is compared."""
    found = []
    for name, value in (
        ("kind", lambda record: record.job.kind.value),
        ("device", lambda record: str(record.facts.get("ran_on") or record.job.device)),
        ("device", lambda record: _platform(record, "machine")),
        ("device", lambda record: _platform(record, "cpu_model")),
        ("runtime", _runtime),
        ("agent", _agent),
        ("backend", lambda record: str(replace(record.job.backend, threads=1))),
        ("threads", lambda record: str(record.job.backend.threads)),
        ("governor", lambda record: _platform(record, "governor")),
        ("cores", lambda record: str(record.facts.get("cores") or "")),
    ):
        before, after = value(base), value(head)
        # What one side does not tell is no difference that anybody has seen; but what ran a
        # model is always told.
        if before != after and (name == "runtime" or (before and after)):
            found.append(Difference(name, before or "unknown", after or "unknown"))
    return found


def refusal(base: JobRecord, head: JobRecord, allow: Collection[str]) -> str:
    """Why the two may not be compared, with what to do; empty where they may."""
    left = [item for item in differences(base, head) if item.name not in allow]
    if not left:
        return ""
    names = ",".join(dict.fromkeys(item.name for item in left))
    return f"{'; '.join(map(str, left))} (--allow {names})"


def is_emulated(record: JobRecord) -> bool:
    """Whether its times would be the emulator's."""
    return record.job.kind is DeviceKind.EMULATED


def _platform(record: JobRecord, key: str) -> str:
    platform: Any = record.facts.get("platform") or {}
    return str(platform.get(key) or "")


def _runtime(record: JobRecord) -> str:
    return f"{record.runtime or ''} {record.runtime_version or ''}".strip()


def _agent(record: JobRecord) -> str:
    agent = record.facts.get("agent") or []
    return str(agent[0]) if agent else ""
