"""What happens during a run, as typed values; whoever shows progress listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.domain import Job, JobStatus, Stage

if TYPE_CHECKING:
    from harness.decide.ab import Standing


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run has its id and its jobs; ``trials`` agents are still to be started.

    With ``more`` that is the least: each ``TrialAdded`` adds one.
    """

    run: str
    jobs: int
    trials: int
    resumed: bool
    more: bool = False


@dataclass(frozen=True, slots=True)
class Preparing:
    """A step before measuring, in words."""

    text: str


@dataclass(frozen=True, slots=True)
class VariantReady:
    """A variant was made, or came from the cache; ``error`` if it could not be."""

    model: str
    recipe: str
    size_bytes: int | None
    cached: bool
    seconds: float | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Converting:
    """How far a long conversion is: ``epoch`` of ``epochs``, what it measured, what remains."""

    model: str
    recipe: str
    said: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeviceConnected:
    """A session is open and everything is on the device."""

    device: str
    bytes_sent: int


@dataclass(frozen=True, slots=True)
class PushProgress:
    """Bytes on their way to a device."""

    device: str
    sent: int
    total: int


@dataclass(frozen=True, slots=True)
class TrialStarted:
    """An agent begins: ``stage`` is what it does, ``index`` counts from 0 of ``of``.

    With ``more`` there may be more than ``of``.
    """

    job: Job
    stage: Stage
    index: int
    of: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class TrialAdded:
    """A job gets one more trial: after ``trials`` its median is known to ``half_width`` only.

    Both widths are shares of the median; ``None`` where it could not be told yet. ``first`` says
    that it is the first one beyond those that every job gets.
    """

    job: Job
    trials: int
    half_width: float | None
    wanted: float
    first: bool


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """An agent ended well, or with an error; ``again`` if it will be tried once more."""

    job: Job
    stage: Stage
    error: str | None
    again: bool = False


@dataclass(frozen=True, slots=True)
class DeviceSetAside:
    """A device gets no more jobs in this run; ``jobs`` of its own are open."""

    device: str
    reason: str
    jobs: int


@dataclass(frozen=True, slots=True)
class FaultUnstruck:
    """A fault that a simulated device was given never struck; ``resumed``: since the resume."""

    device: str
    fault: str
    resumed: bool


@dataclass(frozen=True, slots=True)
class JobSealed:
    """A job has its record; ``summary`` in a few words."""

    job: Job
    status: JobStatus
    stage: Stage
    summary: str
    trials_dropped: int


@dataclass(frozen=True, slots=True)
class RoundEnded:
    """A round of a comparison has ended: the medians of its two trials, ms, and what is known."""

    a: float
    b: float
    standing: Standing


Event = (
    RunStarted
    | Preparing
    | VariantReady
    | Converting
    | DeviceConnected
    | PushProgress
    | TrialStarted
    | TrialAdded
    | TrialEnded
    | DeviceSetAside
    | FaultUnstruck
    | JobSealed
    | RoundEnded
)

Listener = Callable[[Event], None]
