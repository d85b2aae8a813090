"""A job on its way through a lane."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from harness.domain import Job
from harness.errors import HarnessError, JobError
from harness.orchestrate.prepare import Ready


@dataclass
class LaneJob:
    """A job that is not sealed yet, with what earlier sessions of its run have done."""

    job: Job
    id: int
    ready: Ready
    swept: bool = False
    passes_done: set[str] = field(default_factory=set)
    trials_done: set[int] = field(default_factory=set)
    failed_trials: int = 0
    attempts: int = 0
    sealed: bool = False
    runtime: Any = None
    moved_to: str = ""
    moved_because: str = ""

    @property
    def device(self) -> str:
        """Where it really runs: as planned, or where it was moved."""
        return self.moved_to or self.job.device

    @property
    def noted(self) -> dict[str, Any]:
        """What it is measured with and where, for its record."""
        data = self.ready.data
        noted = {"dataset_sha256": data.samples.sha256, "labels_sha256": data.labels_sha256}
        if self.moved_to:
            noted |= {"ran_on": self.moved_to, "moved_because": self.moved_because}
        return noted

    @property
    def tried(self) -> dict[str, Any]:
        """How many agents were started for it, and how many of those were repeated."""
        return {"attempts": self.attempts, "repeated": self.failed_trials}

    def move(self, device: str, why: str) -> None:
        """Begin anew on another device: trials of two devices are never pooled."""
        self.moved_to, self.moved_because = device, why
        self.swept, self.runtime = False, None
        self.trials_done.clear()
        self.passes_done.clear()


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
