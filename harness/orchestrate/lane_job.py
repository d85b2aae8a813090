"""A job on its way through a lane."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from harness.domain import Job, Policy
from harness.errors import HarnessError, JobError
from harness.orchestrate.enough import Enough
from harness.orchestrate.prepare import Ready


@dataclass
class LaneJob:
    """A job that is not sealed yet, with what earlier sessions of its run have done."""

    job: Job
    id: int
    ready: Ready
    swept: bool = False
    passes_done: set[tuple[str, int]] = field(default_factory=set)
    #: Why a pass is missing, by its name.
    passes_failed: dict[str, str] = field(default_factory=dict)
    trials_done: set[int] = field(default_factory=set)
    #: What its trials say of a further one, once those that every job gets are done.
    enough: Enough | None = None
    failed_trials: int = 0
    attempts: int = 0
    sealed: bool = False
    runtime: Any = None
    #: The version of a simulated device's profile, see ``simulation.profile_version``.
    profile: str = ""
    moved_to: str = ""
    moved_because: str = ""

    @property
    def device(self) -> str:
        """Where it really runs: as planned, or where it was moved."""
        return self.moved_to or self.job.device

    @property
    def measured(self) -> bool:
        """Whether it needs no further latency trial."""
        return self.enough is not None and bool(self.enough.by)

    def trials_wanted(self, policy: Policy) -> int:
        """How many latency trials it gets as far as is known yet."""
        if "latency" not in policy.measure:
            return 0
        if self.enough is None:
            return policy.trials
        return self.enough.trials + (0 if self.measured else 1)

    @property
    def noted(self) -> dict[str, Any]:
        """What it is measured with and where, for its record."""
        data = self.ready.data
        noted: dict[str, Any] = {
            "dataset_sha256": data.samples.sha256,
            "labels_sha256": data.labels_sha256,
        }
        if self.profile:
            noted["profile"] = self.profile
        if self.moved_to:
            noted |= {"ran_on": self.moved_to, "moved_because": self.moved_because}
        if self.passes_failed:
            noted["passes_failed"] = dict(self.passes_failed)
        return noted

    @property
    def tried(self) -> dict[str, Any]:
        """Its agents: how many were started, how many repeated, and why there were no more."""
        tried: dict[str, Any] = {"attempts": self.attempts, "repeated": self.failed_trials}
        if self.enough is not None:
            tried["enough"] = self.enough.as_facts()
        return tried

    def move(self, device: str, why: str) -> None:
        """Begin anew on another device: trials of two devices are never pooled."""
        self.moved_to, self.moved_because = device, why
        self.swept, self.runtime, self.enough = False, None, None
        self.trials_done.clear()
        self.passes_done.clear()
        self.passes_failed.clear()


@contextlib.contextmanager
def as_job_errors() -> Iterator[None]:
    """What nobody foresaw is one job's failure, never the end of the other devices."""
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        if os.environ.get("HARNESS_DEBUG"):
            raise
        raise JobError(
            f"a defect of the harness: {type(error).__name__}: {error}",
            hint="see all of it with: harness --debug run ...",
        ) from error
