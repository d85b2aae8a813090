"""What the store gives back: plain records, no live rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.domain import Advisory, Job, JobStatus, Measurement, Stage, TrialStatus


def now() -> str:
    """The time of day in UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run: its suite as declared, its environment, and how it ended."""

    id: str
    suite_name: str
    created: str
    finished: str | None
    status: str
    suite: Mapping[str, Any]
    environment: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BaselineRecord:
    """A name for a run; ``exists`` is false where the run is no longer in the store."""

    name: str
    run: str
    set_at: str
    exists: bool


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One job of a run with what was concluded from it."""

    id: int
    run: str
    job: Job
    status: JobStatus
    stage: Stage
    error: str | None
    variant_sha256: str | None
    size_bytes: int | None
    manifest: Mapping[str, Any]
    runtime: str | None
    runtime_version: str | None
    facts: Mapping[str, Any]
    sealed_at: str | None
    measurements: Mapping[str, Measurement] = field(default_factory=dict)
    advisories: tuple[Advisory, ...] = ()


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One agent process of a job: ``purpose`` is ``check``, ``accuracy``, ``latency`` or the
    name of what else the Policy asked for (``operators``).

    ``phases`` maps each phase to ``(at, values)`` in ns, empty unless samples were asked for.
    """

    id: int
    job_id: int
    index: int
    purpose: str
    status: TrialStatus
    started: str
    error: str | None
    hello: Mapping[str, Any]
    facts: Mapping[str, Any]
    phases: Mapping[str, tuple[NDArray[np.int64], NDArray[np.int64]]] = field(default_factory=dict)
