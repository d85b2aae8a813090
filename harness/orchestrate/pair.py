"""Two jobs of one device in turns, round by round, until it is clear which one is faster."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from harness.decide.ab import MIN_EFFECT, MIN_ROUNDS, Answer, Reading, Standing, standing_of
from harness.decide.ab import reading as reading_of
from harness.devices.lock import HostLock
from harness.domain import Device, DeviceKind, JobStatus, Stage, Suite, TrialStatus
from harness.errors import DeviceBusyError, UsageError
from harness.orchestrate import conclude
from harness.orchestrate.enough import Enough
from harness.orchestrate.events import (
    DeviceConnected,
    Event,
    JobSealed,
    Listener,
    Preparing,
    RoundEnded,
)
from harness.orchestrate.lane import Lane
from harness.orchestrate.lane_job import LaneJob
from harness.orchestrate.lanes import THIS_MACHINE, group_of, host
from harness.orchestrate.patience import waiting
from harness.orchestrate.plan import round_order
from harness.orchestrate.stop import Stop
from harness.store import Store


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a comparison ends: see ``decide.ab.standing``, and at the latest after
    ``max_rounds`` or before a round that would likely end after ``max_seconds``.

    Raises ``UsageError`` for what can never end or never begin.
    """

    min_effect: float = MIN_EFFECT
    min_rounds: int = MIN_ROUNDS
    max_rounds: int = 100
    max_seconds: float = 600.0

    def __post_init__(self) -> None:
        if not 0 < self.min_effect < 1:
            raise UsageError(
                f"the minimum effect is above 0 and below 100 %, not {self.min_effect * 100:g} %",
                hint="no number of rounds shows that two are exactly equal",
            )
        if not 1 <= self.max_rounds <= 1000:
            raise UsageError(f"there can be 1 to 1000 rounds, not {self.max_rounds}")
        if self.min_rounds < 1:
            raise UsageError(f"the least number of rounds is 1 or more, not {self.min_rounds}")
        if not 0 < self.max_seconds <= 604_800:
            raise UsageError(
                f"the time is above 0 and at most a week, not {self.max_seconds / 60:g} minutes"
            )


_NOTHING = Standing(Answer.OPEN, 0, reason="no round has ended")


@dataclass
class Course:
    """How a comparison went: the readings of each side by round, and what ended it.

    ``sides`` are those of the jobs by their index, 0 is A. ``ended`` is empty where the run was
    stopped before anything else ended it; see ``decide.ab.Contest``.
    """

    bounds: Bounds
    sides: tuple[dict[int, Reading], dict[int, Reading]] = field(default_factory=lambda: ({}, {}))
    standing: Standing = _NOTHING
    seconds: float = 0.0
    ended: str = ""
    same: bool = False

    def judge(self, kind: DeviceKind) -> Standing:
        """What the rounds say that both sides have ended."""
        both = sorted(self.sides[0].keys() & self.sides[1].keys())
        a, b = ([side[index] for index in both] for side in self.sides)
        self.standing = standing_of(
            a, b, kind,
            min_effect=self.bounds.min_effect, min_rounds=self.bounds.min_rounds,
        )  # fmt: skip
        return self.standing


class _Turns(Lane):
    """A lane that is told what to do next."""

    def opened(self) -> contextlib.AbstractContextManager[bool]:
        """See ``Lane``."""
        return self._opened()

    def check(self, item: LaneJob) -> None:
        """Compare its outputs with the host's; what it fails of is its record."""
        self._guarded(item, self._sweep)

    def time(self, item: LaneJob, index: int) -> None:
        """One latency trial; what it fails of is its record."""
        self._guarded(item, partial(self._trial, index))

    def conclude(self, item: LaneJob, enough: Enough) -> None:
        """Its record, from the trials that it has."""
        item.enough = enough
        self._guarded(item, self._seal)


class Pair:
    """Runs the two jobs of a comparison; a ``Runner``.

    Both are on one device, in one session. Where they name two profiles of one board, only one
    session can be open at a time: each has its own for as long as its trial lasts, and what
    was pushed stays on the device.
    """

    def __init__(
        self,
        course: Course,
        suite: Suite,
        store: Store,
        owner: str,
        tell: Listener,
        stopped: Stop,
    ) -> None:
        self._course, self._suite, self._store, self._owner = course, suite, store, owner
        self._tell, self._stopped = _once_connected(tell), stopped
        self._lanes: dict[str, _Turns] = {}

    @property
    def struck(self) -> Mapping[str, Collection[int]]:
        """See ``Runner``."""
        return {name: lane.struck for name, lane in self._lanes.items()}

    def run(self, jobs: Sequence[LaneJob]) -> None:
        """Both jobs to their records, unless the run is stopped. Raises ``StoreError`` only."""
        if len(jobs) < 2:
            self._course.ended = "failed"
            self._skip(jobs)
            return
        devices = {device.name: device for device in self._suite.devices}
        lanes = self._lanes = {
            name: _Turns(
                devices[name], [item for item in jobs if item.device == name],
                self._suite.policy, self._store, self._owner, self._tell, self._stopped,
            )
            for name in dict.fromkeys(item.device for item in jobs)
        }  # fmt: skip
        first, second = jobs
        self._course.same = (
            first.ready.variant.sha256 == second.ready.variant.sha256
            and first.job.backend == second.job.backend
            and first.device == second.device
        )
        if self._course.same:
            self._tell(Preparing("A and B are the same file on the same backend"))
        try:
            with self._machine(devices[first.device]):
                self._measure(list(jobs), lanes)
        except DeviceBusyError as error:
            for lane in lanes.values():
                lane.refuse(error)
        if not self._course.ended and any(item.sealed for item in jobs):
            self._course.ended = "failed"
        if self._course.ended:
            self._skip(item for item in jobs if not item.sealed)

    @contextlib.contextmanager
    def _machine(self, device: Device) -> Iterator[None]:
        """This machine's processors, where the device loads them; see ``Lanes``."""
        if group_of(device) != THIS_MACHINE:
            yield
            return
        lock = HostLock(self._owner, exclusive=device.kind is DeviceKind.REAL)
        with host(lock, waiting(self._suite.policy, self._tell, self._stopped)):
            yield

    def _measure(self, jobs: list[LaneJob], lanes: dict[str, _Turns]) -> None:
        together = len(lanes) == 1
        with contextlib.ExitStack() as stack:
            if together and not stack.enter_context(lanes[jobs[0].device].opened()):
                return

            def turn(item: LaneJob, step: Callable[[_Turns], None]) -> None:
                """One step, in the session of both or in its own."""
                lane = lanes[item.device]
                with contextlib.ExitStack() as own:
                    if together or own.enter_context(lane.opened()):
                        step(lane)

            for item in jobs:
                turn(item, partial(_Turns.check, item=item))
                if not item.swept and item.ready.sweepable:
                    return  # failed, or stopped
            self._rounds(jobs, turn)
        course = self._course
        if course.ended:
            for item in jobs:
                if item.trials_done and not item.sealed:
                    enough = Enough(course.ended, len(item.trials_done), course.seconds)
                    lanes[item.device].conclude(item, enough)

    def _rounds(
        self, jobs: list[LaneJob], turn: Callable[[LaneJob, Callable[[_Turns], None]], None]
    ) -> None:
        course, policy = self._course, self._suite.policy
        kind = jobs[0].job.kind
        by_index = {item.job.index: item for item in jobs}
        begin = time.monotonic()
        for index in range(course.bounds.max_rounds):
            if index and course.seconds * (index + 1) / index > course.bounds.max_seconds:
                course.ended = "max_minutes"
                return
            for job in round_order([item.job for item in jobs], index, policy.seed):
                if self._stopped():
                    return
                item = by_index[job.index]
                turn(item, partial(_Turns.time, item=item, index=index))
                if item.sealed:
                    course.ended = "failed"
                if index not in item.trials_done:
                    return
                self._note(item, index, kind, begin)
                if policy.cooldown_seconds:
                    self._stopped.wait(policy.cooldown_seconds)
            found = course.judge(kind)
            if all(index in side for side in course.sides):
                a, b = (side[index].median for side in course.sides)
                self._tell(RoundEnded(a, b, found))
            if found.clear:
                course.ended = "answer"
                return
        course.ended = "max_rounds"

    def _note(self, item: LaneJob, index: int, kind: DeviceKind, begin: float) -> None:
        """The reading of the trial that has just ended, and the time that has gone by."""
        for trial in self._store.trials(item.id, with_samples=True, index=index):
            timed = trial.purpose == Stage.LATENCY.value and trial.status is TrialStatus.OK
            found = reading_of(trial) if timed else None
            if found is not None:
                self._course.sides[item.job.index][index] = found
        if kind is DeviceKind.SIMULATED:
            # The time of a modelled device is its own: the same on every host.
            self._course.seconds = sum(
                item.seconds for side in self._course.sides for item in side.values()
            )
        else:
            self._course.seconds = time.monotonic() - begin

    def _skip(self, jobs: Sequence[LaneJob] | Iterator[LaneJob]) -> None:
        """Seal what was not measured because there is nothing to compare it with."""
        why = "not measured: what it was to be compared with failed"
        for item in list(jobs):
            conclude.seal_failure(
                self._store, item.id, JobStatus.SKIPPED, Stage.PLAN, why, item.ready.variant,
                {**item.noted, **item.tried},
            )  # fmt: skip
            item.sealed = True
            self._tell(JobSealed(item.job, JobStatus.SKIPPED, Stage.PLAN, why, 0))


def _once_connected(tell: Listener) -> Listener:
    """The listener, told once of each device that it is connected, not in every round."""
    known: set[str] = set()

    def told(event: Event) -> None:
        if isinstance(event, DeviceConnected):
            if event.device in known:
                return
            known.add(event.device)
        tell(event)

    return told
