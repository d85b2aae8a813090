"""All jobs of one device, from the open session to their sealed records."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from harness.devices import messages
from harness.devices.session import Answer, Session
from harness.domain import Device, DeviceKind, JobStatus, Policy, Stage, TrialStatus
from harness.errors import (
    DeviceBusyError,
    DeviceFullError,
    HarnessError,
    JobError,
    ProtocolError,
    StoreError,
    TransportError,
    UnsupportedError,
)
from harness.orchestrate import conclude
from harness.orchestrate.events import (
    DeviceConnected,
    JobSealed,
    Listener,
    Preparing,
    PushProgress,
    TrialEnded,
    TrialStarted,
)
from harness.orchestrate.lane_job import LaneJob, as_job_errors
from harness.orchestrate.outputs import OutputCollector, collector_for, compare
from harness.orchestrate.plan import trial_order
from harness.orchestrate.stop import Stop
from harness.orchestrate.tasks import outputs_asked
from harness.store import Store


class Lane:
    """Runs the jobs of one device in one session; never raises for what a job can fail of."""

    def __init__(
        self,
        device: Device,
        jobs: list[LaneJob],
        policy: Policy,
        store: Store,
        owner: str,
        tell: Listener,
        stopped: Stop,
    ) -> None:
        self._device = device
        self._jobs = jobs
        self._policy = policy
        self._store = store
        self._tell = tell
        self._stopped = stopped
        self._owner = owner
        self.on_host = False
        self.real = device.kind is not DeviceKind.SIMULATED

    def run(self) -> None:
        """Every job of the lane sealed, unless the run was stopped."""
        with contextlib.ExitStack() as stack:
            try:
                with as_job_errors():
                    self._session = Session(self._device, self._owner)
                    self._with_retries(self._enter)
                    stack.callback(self._session.__exit__)
                    self._with_retries(self._push)
            except HarnessError as error:
                self._raise_if_fatal(error)
                if self._to_be_resumed(error):
                    return
                for item in self._open():
                    self._fail(item, error, self._session_stage())
                return
            for item in self._open():
                if self._stopped():
                    return
                if not item.sealed:
                    self._guarded(item, self._sweep)
            if "latency" in self._policy.measure:
                self._latency_rounds()
            if self._stopped():
                return
            for item in self._open():
                self._guarded(item, self._seal)

    def _session_stage(self) -> Stage:
        session = getattr(self, "_session", None)
        return session.stage if session is not None else Stage.CONNECT

    def _latency_rounds(self) -> None:
        items = {item.job.index: item for item in self._open()}
        jobs = [item.job for item in items.values()]
        for job, index in trial_order(jobs, self._policy.trials, self._policy.seed):
            item = items[job.index]
            if item.sealed or index in item.trials_done:
                continue
            if self._stopped():
                return
            self._guarded(item, partial(self._trial, index))
            if len(item.trials_done) == self._policy.trials and not item.sealed:
                self._guarded(item, self._seal)
            if self._policy.cooldown_seconds:
                self._stopped.wait(self._policy.cooldown_seconds)

    def _open(self) -> list[LaneJob]:
        return [item for item in self._jobs if not item.sealed]

    # -- steps -----------------------------------------------------------------------------

    def _push(self) -> None:
        if self._session.stage is not Stage.CONNECT:
            self._session.reconnect()
        shared = {item.ready.data.samples.sha256: item.ready.data.samples for item in self._open()}
        own = {item.ready.blob.sha256: item.ready.blob for item in self._open()}

        def progress(sent: int, total: int) -> None:
            self._tell(PushProgress(self._device.name, sent, total))

        try:
            sent = self._session.push([*shared.values(), *own.values()], progress)
        except DeviceFullError:
            # Not all fits; what does is still worth measuring.
            sent = self._session.push(list(shared.values()), progress)
            for item in self._open():
                try:
                    sent += self._session.push([item.ready.blob], progress)
                except DeviceFullError as error:
                    self._fail(item, error, Stage.PUSH)
        self._tell(DeviceConnected(self._device.name, sent))

    def _sweep(self, item: LaneJob) -> None:
        """Accuracy over the whole dataset, or just the samples of the output check."""
        policy, ready = self._policy, item.ready
        if item.swept or not ready.sweepable:
            return
        whole = "accuracy" in policy.measure
        stage = Stage.ACCURACY if whole else Stage.CHECK
        keep = min(policy.output_checks, ready.data.count)
        count = ready.data.count if whole else keep
        alone = policy.measure == ("accuracy",)
        asked = outputs_asked(ready.model)

        def ask(trial_id: int) -> None:
            collector: OutputCollector | None = None

            def on_message(message: dict[str, Any], answer: Answer) -> None:
                nonlocal collector
                tensor, offset, outputs = messages.outputs(message, self._device.name, count, asked)
                if collector is None:
                    if not answer.loaded:
                        raise ProtocolError(f"{self._device.name}: outputs before loaded")
                    specs = answer.loaded["outputs"]
                    collector = collector_for(ready, specs, count, keep, whole=whole)
                collector.add(tensor, offset, outputs)

            workers = item.job.backend.threads
            if alone and (not self.real or item.job.backend.accelerator == "cpu"):
                workers = max(workers, self._processors())
            answer = self._session.ask(
                {
                    **self._request(item, "sweep"),
                    "count": count,
                    "outputs": asked,
                    "threads": 1 if workers > 1 else item.job.backend.threads,
                    "workers": workers,
                    "reset_variables": bool(ready.variant.manifest.get("stateful")),
                },
                on_message,
                purpose=stage,
                silence=policy.silence_timeout,
            )
            if collector is None or collector.missing():
                raise JobError(
                    f"{self._device.name}: outputs of "
                    f"{count if collector is None else collector.missing()} samples never came"
                )
            self._same_runtime(item, answer)
            facts: dict[str, Any] = {
                **answer.facts, "loaded": answer.loaded, "width": collector.width
            }  # fmt: skip
            if ready.reference is not None:
                integer = "int" in ready.variant.recipe or ready.variant.manifest.get(
                    "full_integer", False
                )
                facts["reference"] = compare(collector.head(), ready.reference, integer=integer)
            self._store.end_trial(
                trial_id,
                TrialStatus.OK,
                hello=answer.hello,
                facts=facts,
                artifacts=collector.artifacts() if whole else None,
            )

        self._attempts(item, stage, 0, 1, ask)
        item.swept = True

    def _trial(self, index: int, item: LaneJob) -> None:
        """One latency trial; its raw samples reach the store as they arrive."""
        policy = self._policy

        def ask(trial_id: int) -> None:
            seq = total = measured = 0

            def on_message(message: dict[str, Any], _answer: Answer) -> None:
                nonlocal seq, total, measured
                phase, at, values = messages.samples(message, self._device.name)
                total += len(values)
                measured += len(values) if phase == "measure" else 0
                if total > 2 * policy.max_runs + policy.warmup_runs + 1:
                    raise ProtocolError(f"{self._device.name}: more samples than were asked for")
                self._store.append_samples(trial_id, seq, phase, at, values)
                seq += 1

            answer = self._session.ask(
                {
                    **self._request(item, f"latency/{index}", action="latency"),
                    "threads": item.job.backend.threads,
                    "warmup_runs": policy.warmup_runs,
                    "warmup_seconds": policy.warmup_seconds,
                    "min_runs": policy.min_runs,
                    "min_seconds": policy.min_seconds,
                    "max_runs": policy.max_runs,
                    "max_seconds": policy.max_seconds,
                },
                on_message,
                purpose=Stage.LATENCY,
                silence=policy.silence_timeout,
                longest=2 * policy.max_seconds + 2 * policy.silence_timeout,
            )
            if not measured or not answer.loaded:
                raise ProtocolError(f"{self._device.name}: a latency trial without samples")
            self._same_runtime(item, answer)
            facts = {**answer.facts, **{key: answer.loaded[key] for key in ("load_ns", "init_ns")}}
            self._store.end_trial(trial_id, TrialStatus.OK, hello=answer.hello, facts=facts)

        self._attempts(item, Stage.LATENCY, index, policy.trials, ask)
        item.trials_done.add(index)

    def _request(self, item: LaneJob, purpose: str, *, action: str = "sweep") -> dict[str, Any]:
        job, ready = item.job, item.ready
        preprocessing = ready.model.preprocessing
        return {
            "action": action,
            "id": f"{job.label}/{purpose}/{self._policy.seed}",
            "model": {"path": self._session.path(ready.blob), "sha256": ready.blob.sha256},
            "samples": {
                "path": self._session.path(ready.data.samples),
                "sha256": ready.data.samples.sha256,
            },
            "preprocessing": {
                "scale": preprocessing.scale,
                "mean": list(preprocessing.mean),
                "std": list(preprocessing.std),
            },
            "accelerator": job.backend.accelerator,
            **({} if job.backend.accelerator != "edgetpu" else self._edgetpu()),
        }

    def _edgetpu(self) -> dict[str, str]:
        """Which of the device's Edge TPUs, and by which library, where the profile says so."""
        link = self._device.link
        asked = {"accelerator_device": "edgetpu", "edgetpu_library": "edgetpu_library"}
        return {key: str(link[name]) for key, name in asked.items() if link.get(name)}

    def _same_runtime(self, item: LaneJob, answer: Answer) -> None:
        """Trials of different runtimes are not one job: a board may be upgraded between them."""
        found = answer.hello.get("runtime")
        if item.runtime is not None and found != item.runtime:
            raise JobError(
                f"{self._device.name}: the runtime is {found}, and this job began with "
                f"{item.runtime}",
                hint="start a new run: trials of two runtimes are never pooled",
            )
        item.runtime = found

    def _processors(self) -> int:
        """All of the device's processors, as its agent counts them."""
        answer = self._session.ask(
            {"action": "probe"}, lambda *_: None, purpose=Stage.START, silence=60
        )
        count = answer.hello["platform"].get("cpu_count")
        return count if isinstance(count, int) and 1 <= count <= 256 else 1

    # -- failures --------------------------------------------------------------------------

    def _attempts(
        self, item: LaneJob, stage: Stage, index: int, of: int, ask: Callable[[int], None]
    ) -> None:
        """A trial, repeated while its failure is transient; each attempt is a trial record."""
        for attempt in range(self._policy.retries + 1):
            self._tell(TrialStarted(item.job, stage, index, of))
            trial_id = self._store.begin_trial(item.id, index, stage.value)
            try:
                if attempt:
                    self._session.reconnect()
                ask(trial_id)
            except HarnessError as error:
                self._raise_if_fatal(error)
                self._store.end_trial(trial_id, TrialStatus.FAILED, error=error.one_line)
                again = error.transient and attempt < self._policy.retries and not self._stopped()
                self._tell(TrialEnded(item.job, stage, error.one_line, again))
                if not again:
                    raise
                item.failed_trials += 1
                self._stopped.wait(self._policy.retry_delay * 2**attempt)
            else:
                self._tell(TrialEnded(item.job, stage, None))
                return

    def _with_retries(self, step: Callable[[], object]) -> None:
        for attempt in range(self._policy.retries + 1):
            try:
                step()
                return
            except HarnessError as error:
                if not error.transient or attempt == self._policy.retries or self._stopped():
                    raise
                self._stopped.wait(self._policy.retry_delay * 2**attempt)

    def _guarded(self, item: LaneJob, step: Callable[[LaneJob], None]) -> None:
        """A step of one job; a failure seals that job, a lost link all of the lane's."""
        try:
            with as_job_errors():
                step(item)
        except HarnessError as error:
            self._raise_if_fatal(error)
            if self._to_be_resumed(error):
                return
            self._fail(item, error, self._session.stage)
            if isinstance(error, TransportError) and not self._stopped():
                try:
                    with as_job_errors():
                        self._with_retries(self._session.reconnect)
                except HarnessError as lost:
                    if self._to_be_resumed(lost):
                        return
                    for other in self._open():
                        self._fail(other, lost, Stage.CONNECT)

    @staticmethod
    def _raise_if_fatal(error: HarnessError) -> None:
        if isinstance(error, StoreError):
            raise error  # what cannot be stored must not go on

    def _to_be_resumed(self, error: HarnessError) -> bool:
        """A failure that may pass is no verdict when the user would not wait for another try."""
        return self._stopped() and (error.transient or isinstance(error, DeviceBusyError))

    def _enter(self) -> None:
        """Open the session once nobody else holds the device; ``DeviceBusyError`` in the end."""
        deadline = time.monotonic() + self._policy.busy_timeout
        told = False
        while True:
            try:
                self._session.__enter__()
                return
            except DeviceBusyError as error:
                if time.monotonic() >= deadline or self._stopped():
                    raise
                if not told:
                    self._tell(Preparing(f"waiting: {error.message}"))
                    told = True
                self._stopped.wait(0.5)

    def _fail(self, item: LaneJob, error: HarnessError, stage: Stage) -> None:
        status = JobStatus.UNSUPPORTED if isinstance(error, UnsupportedError) else JobStatus.FAILED
        facts = {**item.noted, "transient": True} if error.transient else None
        conclude.seal_failure(
            self._store, item.id, status, stage, error.one_line, item.ready.variant, facts
        )
        self._sealed(item, status, stage, error.one_line)

    def _seal(self, item: LaneJob) -> None:
        summary = conclude.seal_success(
            self._store, item.id, item.job, item.ready, self._policy, item.failed_trials
        )
        self._sealed(item, JobStatus.OK, Stage.DONE, summary)

    def _sealed(self, item: LaneJob, status: JobStatus, stage: Stage, summary: str) -> None:
        item.sealed = True
        wanted = self._policy.trials if "latency" in self._policy.measure else 0
        dropped = wanted - len(item.trials_done) + (0 if item.swept else 1)
        self._tell(JobSealed(item.job, status, stage, summary, dropped))
