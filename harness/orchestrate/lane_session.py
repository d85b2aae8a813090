"""A lane's way with its device: the session, other tries, and giving the device up."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from harness.devices.lease import Busy
from harness.devices.readiness import Readiness, Ready
from harness.devices.session import Session
from harness.domain import Device, DeviceKind, JobStatus, Policy, Stage, TrialStatus
from harness.errors import (
    AgentReportedError,
    DeviceBusyError,
    HarnessError,
    JobError,
    StoreError,
    TransportError,
    UnsupportedError,
)
from harness.orchestrate import conclude
from harness.orchestrate.enough import may_add
from harness.orchestrate.events import (
    DeviceSetAside,
    JobSealed,
    Listener,
    Preparing,
    TrialEnded,
    TrialStarted,
)
from harness.orchestrate.lane_job import LaneJob, as_job_errors
from harness.orchestrate.passes import PASSES
from harness.orchestrate.patience import blames_device, delay, waiting
from harness.orchestrate.stop import Stop
from harness.store import Batch, JobStore


@dataclass(frozen=True, slots=True)
class Aside:
    """Why a device gets no more jobs in this run, and where it failed last."""

    error: HarnessError
    stage: Stage


class LaneSession:
    """What a lane does around its measuring. See ``Lane``."""

    def __init__(
        self,
        device: Device,
        jobs: list[LaneJob],
        policy: Policy,
        store: JobStore,
        owner: str,
        tell: Listener,
        stopped: Stop,
    ) -> None:
        self.device = device
        self.on_host = False
        self.real = device.kind is not DeviceKind.SIMULATED
        #: Set once the device gets no more jobs; those that are open are then ``left``.
        self.aside: Aside | None = None
        #: Which of the device's faults have struck, by position in ``Device.faults``.
        self.struck: set[int] = set()
        self._jobs = jobs
        self._policy = policy
        self._store = store
        self._tell = tell
        self._stopped = stopped
        self._owner = owner
        self._failures = 0
        self._connects = 0
        self._session: Session
        self._readiness: Readiness | None = None

    def write_to(self, batch: Batch) -> None:
        """From now on what is measured goes there, and is told of once it is written."""
        tell = self._tell
        self._store = batch
        self._tell = lambda event: batch.once_written(partial(tell, event))

    def left(self) -> list[LaneJob]:
        """Jobs without a record."""
        return [item for item in self._jobs if not item.sealed]

    def _over(self) -> bool:
        return self.aside is not None or self._stopped()

    # -- the session -----------------------------------------------------------------------

    def _enter(self) -> None:
        """Open the session once nobody else holds the device; ``DeviceBusyError`` in the end."""
        self._session.open(self._waiting())
        try:
            self._claim()
            self._get_ready()
        except BaseException:
            self._leave()
            raise

    def _reconnect(self) -> None:
        self._session.reconnect(self._waiting())
        self._claim()
        self._get_ready()

    def _leave(self) -> None:
        if self._readiness is not None:
            self._readiness.close()
        self._session.close()

    def _note_struck(self) -> None:
        self.struck |= getattr(self._session.transport, "struck", frozenset())

    def _get_ready(self) -> None:
        """What the Policy sets for as long as the link lasts.

        A modelled device that tells nothing of itself is always so.
        """
        if not self.real and not getattr(self._session.transport, "tells_state", False):
            return
        if self._readiness is not None:
            self._readiness.close()
        link = self._session.transport
        self._readiness = Readiness(link, self._policy, getattr(link, "waited_s", time.monotonic))
        self._readiness.open()

    def _ready(self, request: Mapping[str, Any]) -> Ready:
        """The device as the Policy wants it for a trial, after waiting for it if need be.

        A modelled device is told what it will be asked for, and waited for in its own time.
        """
        if self._readiness is None:
            return Ready()
        told = False
        rest = getattr(self._session.transport, "rest", None)
        if expect := getattr(self._session.transport, "expect", None):
            expect(request)

        def pause(seconds: float, why: str) -> None:
            nonlocal told
            if not told:
                self._tell(Preparing(f"{self.device.name}: waiting: {why}"))
                told = True
            if rest is not None:
                rest(seconds)
                return
            self._session.hold(seconds)
            self._stopped.wait(seconds)

        return self._readiness.wait(pause, self._stopped)

    def _claim(self) -> None:
        if self._session.took_over:
            self._tell(Preparing(f"{self.device.name}: took over {self._session.took_over}"))
        if self._session.fence is not None:
            self._store.claim(self._session.fence)

    def _waiting(self) -> Busy:
        return waiting(self._policy, self._tell, self._stopped)

    # -- failures --------------------------------------------------------------------------

    def _attempts(
        self, item: LaneJob, stage: Stage, index: int, of: int, ask: Callable[[int], None]
    ) -> None:
        """A trial, repeated while its failure is transient; each attempt is a trial record."""
        for attempt in range(self._policy.retries + 1):
            more = stage is Stage.LATENCY and may_add(self.device.kind, self._policy)
            self._tell(TrialStarted(item.job, stage, index, of, more))
            trial_id = self._store.begin_trial(item.id, index, stage.value)
            item.attempts += 1
            try:
                if attempt or not self._session.stands:
                    self._reconnect()
                ask(trial_id)
            except HarnessError as error:
                self._raise_if_fatal(error)
                self._store.end_trial(trial_id, TrialStatus.FAILED, error=error.one_line)
                again = error.transient and attempt < self._policy.retries and not self._stopped()
                self._tell(TrialEnded(item.job, stage, error.one_line, again))
                if not again:
                    raise
                item.failed_trials += 1
                self._stopped.wait(delay(self._policy, attempt, item.job.label))
            else:
                self._failures = 0
                self._tell(TrialEnded(item.job, stage, None))
                return

    def _with_retries(self, step: Callable[[], object]) -> None:
        for attempt in range(self._policy.retries + 1):
            self._connects += 1
            try:
                step()
                return
            except HarnessError as error:
                if not error.transient or attempt == self._policy.retries or self._stopped():
                    raise
                self._stopped.wait(delay(self._policy, attempt, self.device.name))

    def _guarded(self, item: LaneJob, step: Callable[[LaneJob], None]) -> None:
        """A step of one job; a failure seals that job, a device that has gone ends the lane."""
        try:
            with as_job_errors():
                step(item)
        except HarnessError as error:
            self._raise_if_fatal(error)
            if self._to_be_resumed(error):
                return
            stage, gone = self._session.stage, None
            blamed = blames_device(error)
            if blamed or isinstance(error, (AgentReportedError, UnsupportedError)):
                self._failures = self._failures + 1 if blamed else 0
            if 0 < self._policy.give_up_after <= self._failures:
                count = f"{self._failures} failures in a row, the last one"
                gone = Aside(
                    JobError(f"{self.device.name} was set aside after {count}: {error.one_line}"),
                    stage,
                )
            elif isinstance(error, TransportError) and not self._stopped():
                gone = self._gone_after_a_cut()
            may_move = self._policy.move_jobs and (blamed or isinstance(error, TransportError))
            if gone is None or not may_move:
                self._fail(item, error, stage)
            if gone is not None:
                self._set_aside(gone)

    def refuse(self, error: DeviceBusyError) -> None:
        """What the lane needs was not to be had in time: its jobs are as of a busy device."""
        if not self._to_be_resumed(error):
            self._set_aside(Aside(error, Stage.CONNECT))

    def _gone_after_a_cut(self) -> Aside | None:
        """A new link for the jobs that are left, or why there is none."""
        try:
            with as_job_errors():
                self._with_retries(self._reconnect)
        except HarnessError as lost:
            self._raise_if_fatal(lost)
            if not self._to_be_resumed(lost):
                return Aside(lost, Stage.CONNECT)
        return None

    def _set_aside(self, why: Aside) -> None:
        """No more jobs for this device; where they may not move, they fail for its reason."""
        self.aside = why
        left = len(self.left())
        if left:
            self._tell(DeviceSetAside(self.device.name, why.error.one_line, left))
        if not self._policy.move_jobs:
            self.fail_left()

    def fail_left(self) -> None:
        """Seal what no other device takes."""
        if self.aside is not None:
            for item in self.left():
                self._fail(item, self.aside.error, self.aside.stage)

    @staticmethod
    def _raise_if_fatal(error: HarnessError) -> None:
        if isinstance(error, StoreError):
            raise error  # what cannot be stored must not go on

    def _to_be_resumed(self, error: HarnessError) -> bool:
        """A failure that may pass is no verdict when the user would not wait for another try."""
        return self._stopped() and (error.transient or isinstance(error, DeviceBusyError))

    def _fail(self, item: LaneJob, error: HarnessError, stage: Stage) -> None:
        status = JobStatus.UNSUPPORTED if isinstance(error, UnsupportedError) else JobStatus.FAILED
        facts = {**item.noted, **item.tried, **self._given, "connects": self._connects}
        if error.transient:
            facts["transient"] = True
        conclude.seal_failure(
            self._store, item.id, status, stage, error.one_line, item.ready.variant, facts
        )
        self._sealed(item, status, stage, error.one_line)

    @property
    def _given(self) -> dict[str, Any]:
        """What a simulated device was made to suffer, for the record."""
        return {"faults": list(self.device.faults)} if self.device.faults else {}

    def _sealed(self, item: LaneJob, status: JobStatus, stage: Stage, summary: str) -> None:
        item.sealed = True
        policy = self._policy
        parts = sum(kind.parts(policy) for name, kind in PASSES.items() if name in policy.measure)
        wanted = item.trials_wanted(policy) + parts
        done = len(item.trials_done) + len(item.passes_done)
        dropped = wanted - done + (0 if item.swept else 1)
        self._tell(JobSealed(item.job, status, stage, summary, dropped))
