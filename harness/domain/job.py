"""One cell of a run and its states."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.domain.backend import Backend
from harness.domain.device import DeviceKind


class JobStatus(StrEnum):
    """How a job ended; ``pending`` is the only state that is not sealed."""

    PENDING = "pending"
    OK = "ok"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"
    SKIPPED = "skipped"


class TrialStatus(StrEnum):
    """A trial that did not reach its end keeps its samples but never counts."""

    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"


class Stage(StrEnum):
    """Where a job is, in the order of its life."""

    PLAN = "plan"
    READ = "read"
    CONVERT = "convert"
    VERIFY = "verify"
    CONNECT = "connect"
    PUSH = "push"
    START = "start"
    LOAD = "load"
    CHECK = "check"
    ACCURACY = "accuracy"
    LATENCY = "latency"
    SCENARIOS = "scenarios"
    OPERATORS = "operators"
    SUSTAINED = "sustained"
    ENERGY = "energy"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Job:
    """Variant x Device x Backend, by the names that are known before conversion.

    ``index`` is the job's place in the plan and, with the run, its identity.
    """

    index: int
    model: str
    recipe: str
    device: str
    kind: DeviceKind
    backend: Backend

    @property
    def label(self) -> str:
        """``model/recipe on device (backend)``."""
        return f"{self.model}/{self.recipe} on {self.device} ({self.backend})"
