"""All jobs of one device, from the open session to their sealed records."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from harness.devices import messages
from harness.devices.benchmark_model import find_tool
from harness.devices.session import Answer, Session
from harness.domain import DeviceKind, JobStatus, Stage, TrialStatus
from harness.errors import (
    AgentError,
    DeviceFullError,
    HarnessError,
    JobError,
    ProtocolError,
    UnsupportedError,
)
from harness.orchestrate import conclude
from harness.orchestrate.enough import judged
from harness.orchestrate.events import DeviceConnected, PushProgress, TrialAdded
from harness.orchestrate.lane_job import LaneJob, as_job_errors
from harness.orchestrate.lane_session import Aside, LaneSession
from harness.orchestrate.outputs import OutputCollector, collector_for, compare
from harness.orchestrate.passes import PASSES, Asking
from harness.orchestrate.patience import blames_device
from harness.orchestrate.plan import round_order
from harness.orchestrate.tasks import outputs_asked


class Lane(LaneSession):
    """Runs the jobs of one device in one session; never raises for what a job can fail of."""

    def run(self) -> None:
        """Every job of the lane sealed, unless the run was stopped, or they are ``left``."""
        with self._opened() as opened:
            if not opened:
                return
            for item in self.left():
                if self._over():
                    return
                self._guarded(item, self._sweep)
            if "latency" in self._policy.measure:
                self._latency_rounds()
            for item in self.left():
                for name, part in self._parts:
                    if self._over():
                        return
                    if not item.sealed and (name, part) not in item.passes_done:
                        self._guarded(item, partial(self._pass, name, part))
            if self._over():
                return
            for item in self.left():
                self._guarded(item, self._seal)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[bool]:
        """The session, with everything on the device; false where it could not be had.

        The device is set aside then, unless the run is being stopped.
        """
        with contextlib.ExitStack() as stack:
            opened = False
            try:
                with as_job_errors():
                    self._session = Session(self.device, self._owner)
                    stack.callback(self._note_struck)
                    self._with_retries(self._enter)
                    stack.callback(self._leave)
                    self._with_retries(self._push)
                opened = True
            except HarnessError as error:
                self._raise_if_fatal(error)
                if not self._to_be_resumed(error):
                    self._set_aside(Aside(error, self._session_stage()))
            yield opened

    def _session_stage(self) -> Stage:
        session = getattr(self, "_session", None)
        return session.stage if session is not None else Stage.CONNECT

    def _latency_rounds(self) -> None:
        """Round by round one trial of every job that needs another, until none does."""
        for item in self.left():
            self._guarded(item, self._judge)  # a resumed run has trials already
        for index in range(self._policy.max_trials):
            items = {item.job.index: item for item in self.left() if not item.measured}
            jobs = [item.job for item in items.values()]
            for job in round_order(jobs, index, self._policy.seed):
                item = items[job.index]
                if index in item.trials_done:
                    continue
                if self._over():
                    return
                self._guarded(item, partial(self._trial, index))
                if index in item.trials_done:
                    self._guarded(item, self._judge)
                if item.measured and not item.sealed and not self._passes:
                    self._guarded(item, self._seal)
                self._cool_down()

    def _cool_down(self) -> None:
        """The pause that the Policy asks for after an agent; what is modelled needs none."""
        if self.real and self._policy.cooldown_seconds and not self._over():
            self._session.hold(self._policy.cooldown_seconds)
            self._stopped.wait(self._policy.cooldown_seconds)

    def _judge(self, item: LaneJob) -> None:
        """Whether the job has been measured enough; one more trial is told of as it is added."""
        if len(item.trials_done) < self._policy.trials:
            return
        item.enough = found = judged(self._store, item.id, self.device.kind, self._policy)
        if not found.by:
            first = found.trials == self._policy.trials
            wanted = self._policy.precision
            self._tell(TrialAdded(item.job, found.trials, found.half_width, wanted, first))

    @property
    def _passes(self) -> list[str]:
        """What else the Policy asks for, in the registry's order."""
        return [name for name in PASSES if name in self._policy.measure]

    @property
    def _parts(self) -> list[tuple[str, int]]:
        """The agent processes that those take: the name, and a number from 0."""
        return [
            (name, part)
            for name in self._passes
            for part in range(PASSES[name].parts(self._policy))
        ]

    # -- steps -----------------------------------------------------------------------------

    def _push(self) -> None:
        if self._session.stage is not Stage.CONNECT or not self._session.linked:
            self._reconnect()
        runners = {self.device.runner(item.job.backend) for item in self.left()}
        if "benchmark_model" in runners:
            try:
                find_tool(self.device)
            except HarnessError as error:
                # The agent's jobs can do without it.
                for item in self.left():
                    if self.device.runner(item.job.backend) == "benchmark_model":
                        self._fail(item, error, Stage.PUSH)
                runners.discard("benchmark_model")
        shared = {item.ready.data.samples.sha256: item.ready.data.samples for item in self.left()}
        own = {item.ready.blob.sha256: item.ready.blob for item in self.left()}

        def progress(sent: int, total: int) -> None:
            self._tell(PushProgress(self.device.name, sent, total))

        try:
            sent = self._session.push([*shared.values(), *own.values()], progress, runners)
        except DeviceFullError:
            # Not all fits; what does is still worth measuring.
            sent = self._session.push(list(shared.values()), progress, runners)
            for item in self.left():
                try:
                    sent += self._session.push([item.ready.blob], progress, runners)
                except DeviceFullError as error:
                    self._fail(item, error, Stage.PUSH)
        self._tell(DeviceConnected(self.device.name, sent))

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
                tensor, offset, outputs = messages.outputs(message, self.device.name, count, asked)
                if collector is None:
                    if not answer.loaded:
                        raise ProtocolError(f"{self.device.name}: outputs before loaded")
                    specs = answer.loaded["outputs"]
                    collector = collector_for(ready, specs, count, keep, whole=whole)
                collector.add(tensor, offset, outputs)

            workers = item.job.backend.threads
            if alone and (not self.real or item.job.backend.accelerator == "cpu"):
                workers = max(workers, self._processors(item))
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
                    f"{self.device.name}: outputs of "
                    f"{count if collector is None else collector.missing()} samples never came"
                )
            self._same_runtime(item, answer)
            facts: dict[str, Any] = {
                **answer.facts, **self._by(), "loaded": answer.loaded, "width": collector.width
            }  # fmt: skip
            if ready.reference is not None:
                integer = "int" in ready.variant.recipe or ready.variant.manifest.get(
                    "full_integer", False
                )
                facts["reference"] = compare(collector.head(), ready.reference, integer=integer)
            self._session.verify()
            self._store.end_trial(
                trial_id,
                TrialStatus.OK,
                hello=answer.hello,
                facts=facts,
                artifacts=collector.artifacts() if whole else None,
                fence=self._session.fence,
            )

        self._attempts(item, stage, 0, 1, ask)
        item.swept = True

    def _trial(self, index: int, item: LaneJob) -> None:
        """One latency trial; its raw samples reach the store as they arrive."""
        policy = self._policy

        def ask(trial_id: int) -> None:
            seq = total = measured = modelled_ns = 0
            begin = time.monotonic()

            def on_message(message: dict[str, Any], _answer: Answer) -> None:
                nonlocal seq, total, measured, modelled_ns
                phase, at, values = messages.samples(message, self.device.name)
                total += len(values)
                modelled_ns = max(modelled_ns, int(at[-1] + values[-1]))
                measured += len(values) if phase == "measure" else 0
                if total > 2 * policy.max_runs + policy.warmup_runs + 1:
                    raise ProtocolError(f"{self.device.name}: more samples than were asked for")
                self._store.append_samples(trial_id, seq, phase, at, values)
                seq += 1

            request = {
                **self._request(item, f"latency/{index}", action="latency"),
                "threads": item.job.backend.threads,
                "warmup_runs": policy.warmup_runs,
                "warmup_seconds": policy.warmup_seconds,
                **self._steadiness(),
                "min_runs": policy.min_runs,
                "min_seconds": policy.min_seconds,
                "max_runs": policy.max_runs,
                "max_seconds": policy.max_seconds,
                # How a modelled device came to this trial; the others rest in real time.
                **({} if self.real else {"cooldown_seconds": policy.cooldown_seconds}),
            }
            ready = self._ready(request)
            answer = self._session.ask(
                {**request, **({"cores": list(ready.cores)} if ready.cores else {})},
                on_message,
                purpose=Stage.LATENCY,
                silence=policy.silence_timeout,
                longest=2 * policy.max_seconds + 2 * policy.silence_timeout,
            )
            if not (measured or answer.summary) or not answer.loaded:
                raise ProtocolError(f"{self.device.name}: a latency trial without samples")
            self._same_runtime(item, answer)
            facts = {**answer.facts, **{key: answer.loaded[key] for key in ("load_ns", "init_ns")}}
            if answer.summary:
                facts["summary"] = answer.summary
            # The time of a modelled device is its own: the same on every host.
            spent = time.monotonic() - begin if self.real else modelled_ns / 1e9
            facts["trial_seconds"] = spent
            self._session.verify()
            self._store.end_trial(
                trial_id,
                TrialStatus.OK,
                hello=answer.hello,
                facts={**facts, **self._by(), **ready.as_facts()},
                fence=self._session.fence,
            )

        self._attempts(item, Stage.LATENCY, index, max(policy.trials, index + 1), ask)
        item.trials_done.add(index)

    def _steadiness(self) -> dict[str, Any]:
        """What ends a warm-up; what is no latency needs only to be warm."""
        if self.device.kind is DeviceKind.EMULATED:
            return {}
        return {
            "warmup_max_seconds": self._policy.warmup_max_seconds,
            "steady_within": self._policy.steady_within,
        }

    def _pass(self, name: str, part: int, item: LaneJob) -> None:
        """A part of a measurement of another kind, in an agent process of its own."""
        kind, policy = PASSES[name], self._policy
        if not kind.wanted(self.device, item) or name in item.passes_failed:
            return

        def ask(trial_id: int) -> None:
            asked = self._request(item, f"{name}/{part}")
            ready = self._ready({**asked, "threads": item.job.backend.threads})
            cores = {"cores": list(ready.cores)} if ready.cores else {}
            asking = Asking(
                self.device, self._session, self._store, policy, item, part, trial_id,
                ready, self._stopped,
                lambda action: {
                    **self._request(item, f"{name}/{part}", action=action),
                    **cores,
                    "threads": item.job.backend.threads,
                },
            )  # fmt: skip
            hello: Mapping[str, Any] = {}
            try:
                answer, facts = kind.run(asking)
            except UnsupportedError as error:
                # The job has its other numbers; why this one is missing is part of its record.
                facts = {"unsupported": error.one_line}
            else:
                self._same_runtime(item, answer)
                hello = answer.hello
                facts = {**answer.facts, **facts}
            self._session.verify()
            self._store.end_trial(
                trial_id,
                TrialStatus.OK,
                hello=hello,
                facts={**facts, "part": part, **self._by(), **ready.as_facts()},
                fence=self._session.fence,
            )

        try:
            self._attempts(item, kind.stage, part, kind.parts(policy), ask)
        except AgentError as error:
            has_numbers = item.trials_done or item.passes_done or "accuracy" in policy.measure
            blamed = blames_device(error)
            gives_up = blamed and 0 < policy.give_up_after <= self._failures + 1
            if not has_numbers or gives_up or self._to_be_resumed(error):
                raise
            self._failures += blamed
            item.passes_failed[name] = error.one_line  # what was measured before stands
        else:
            item.passes_done.add((name, part))
        self._cool_down()

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
            "backend": str(job.backend),
            **({} if job.backend.accelerator != "edgetpu" else self._edgetpu()),
        }

    def _edgetpu(self) -> dict[str, str]:
        """Which of the device's Edge TPUs, and by which library, where the profile says so."""
        link = self.device.link
        asked = {"accelerator_device": "edgetpu", "edgetpu_library": "edgetpu_library"}
        return {key: str(link[name]) for key, name in asked.items() if link.get(name)}

    def _by(self) -> dict[str, Any]:
        """Which session a result comes from."""
        fence = self._session.fence
        return {"lease": {"place": fence.place, "token": fence.token}} if fence else {}

    def _same_runtime(self, item: LaneJob, answer: Answer) -> None:
        """Trials of different runtimes are not one job: a board may be upgraded between them."""
        found = answer.hello.get("runtime")
        if item.runtime is not None and found != item.runtime:
            raise JobError(
                f"{self.device.name}: the runtime is {found}, and this job began with "
                f"{item.runtime}",
                hint="start a new run: trials of two runtimes are never pooled",
            )
        item.runtime = found

    def _processors(self, item: LaneJob) -> int:
        """All of the device's processors, as its agent counts them."""
        answer = self._session.ask(
            {"action": "probe", "backend": str(item.job.backend)},
            lambda *_: None,
            purpose=Stage.START,
            silence=60,
        )
        count = answer.hello["platform"].get("cpu_count")
        return count if isinstance(count, int) and 1 <= count <= 256 else 1

    def _seal(self, item: LaneJob) -> None:
        summary = conclude.seal_success(
            self._store,
            item.id,
            item.job,
            item.ready,
            self._policy,
            item.failed_trials,
            facts={**item.noted, **item.tried, **self._given},
        )
        self._sealed(item, JobStatus.OK, Stage.DONE, summary)
