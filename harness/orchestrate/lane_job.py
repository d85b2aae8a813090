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
    trials_done: set[int] = field(default_factory=set)
    failed_trials: int = 0
    sealed: bool = False
    runtime: Any = None

    @property
    def noted(self) -> dict[str, Any]:
        """The samples that it is measured with, for its record."""
        data = self.ready.data
        return {"dataset_sha256": data.samples.sha256, "labels_sha256": data.labels_sha256}


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
