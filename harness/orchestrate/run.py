"""A run from its suite to its last record."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from harness.config.suites import suite_from_json, suite_to_json
from harness.devices.lock import HostLock
from harness.domain import DeviceKind, JobStatus, Stage, Suite, TrialStatus
from harness.errors import (
    DeviceBusyError,
    HarnessError,
    JobError,
    NotDeployableError,
    UnsupportedError,
    UsageError,
)
from harness.orchestrate import conclude
from harness.orchestrate.enough import may_add
from harness.orchestrate.environment import snapshot
from harness.orchestrate.events import (
    Event,
    FaultUnstruck,
    JobSealed,
    Listener,
    Preparing,
    RunStarted,
)
from harness.orchestrate.lane_job import LaneJob
from harness.orchestrate.lanes import Lanes, RunnerFactory, host
from harness.orchestrate.passes import PASSES
from harness.orchestrate.patience import waiting
from harness.orchestrate.plan import Plan, make_plan
from harness.orchestrate.prepare import NotReady, Prepared, Ready, prepare
from harness.orchestrate.run_lock import run_lock
from harness.orchestrate.stop import Stop
from harness.orchestrate.suited import unsuited
from harness.simulation.version import profile_version
from harness.store import JobRecord, Store, TrialRecord

#: The trials that earlier sessions of a run have left of its open jobs, by the jobs' ids.
Done = Mapping[int, Sequence[TrialRecord]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: its id, the number of jobs by status, and whether it was stopped."""

    run: str
    counts: dict[JobStatus, int]
    interrupted: bool

    @property
    def exit_code(self) -> int:
        """0 all well, 3 some jobs failed, 130 interrupted."""
        if self.interrupted:
            return 130
        return 3 if self.counts.get(JobStatus.FAILED) else 0


def execute(
    store: Store,
    *,
    plan: Plan | None = None,
    resume: str | None = None,
    tell: Listener = lambda event: None,
    stop: Stop | None = None,
    runner: RunnerFactory = Lanes,
) -> Outcome:
    """Run a plan, or go on with a run that did not end; ``runner`` measures its jobs.

    Every job ends with exactly one sealed record; a failed job never stops the others.
    Raises ``UsageError`` and ``StoreError`` only.
    """
    stopped = stop or Stop()
    tell = _never_raising(tell)
    if resume is not None:
        record = store.find_run(resume)
        run_id, suite = record.id, suite_from_json(record.suite)
    elif plan is not None:
        run_id, suite = _new_id(plan.suite.name), plan.suite
    else:
        raise UsageError("there is neither a suite nor a run to resume")
    with run_lock(run_id), _left_tidy(store, run_id):
        if plan is not None and resume is None:
            store.create_run(run_id, suite_to_json(suite), snapshot(), plan.jobs)
        else:
            if not store.counts(run_id).get(JobStatus.PENDING.value):
                tell(Preparing(f"run {run_id} is complete: nothing to resume"))
                if record.status != "finished":  # killed between its last record and its end
                    store.finish_run(run_id, "finished")
                return _outcome(store, run_id)
            make_plan(suite)  # files may have gone since
            store.discard_unfinished(run_id)
        _carry_on(store, run_id, suite, tell, stopped, runner, resumed=resume is not None)
        outcome = _outcome(store, run_id)
        store.finish_run(run_id, "interrupted" if outcome.interrupted else "finished")
    return outcome


def _outcome(store: Store, run_id: str) -> Outcome:
    counts = {JobStatus(name): count for name, count in store.counts(run_id).items()}
    return Outcome(run_id, counts, JobStatus.PENDING in counts)


@contextmanager
def _left_tidy(store: Store, run_id: str) -> Iterator[None]:
    """A run that ends with an error is not left as if it were going on."""
    try:
        yield
    except BaseException:
        with suppress(HarnessError):  # the store itself may be what failed
            store.finish_run(run_id, "interrupted")
        raise


def _carry_on(
    store: Store,
    run_id: str,
    suite: Suite,
    tell: Listener,
    stopped: Stop,
    runner: RunnerFactory,
    *,
    resumed: bool,
) -> None:
    pending = [item for item in store.jobs(run_id) if item.status is JobStatus.PENDING]
    done = store.open_trials(run_id)
    trials = sum(_agents_left(done, item, suite) for item in pending)
    more = any(may_add(item.job.kind, suite.policy) for item in pending)
    more = more and "latency" in suite.policy.measure
    tell(RunStarted(run_id, len(pending), trials, resumed, more))
    if not pending:
        return
    pairs = [(item.job.model, item.job.recipe) for item in pending]
    owner = f"run {run_id}"
    try:
        lock = HostLock(owner, exclusive=False)
        with host(lock, waiting(suite.policy, tell, stopped)):
            prepared = prepare(suite, pairs, tell, stopped)
    except DeviceBusyError as error:
        if not stopped():
            for item in pending:
                _fail(store, done, item, suite, tell, error.one_line)
        return
    if stopped():
        return
    jobs = _lane_jobs(store, done, pending, prepared, suite, tell)
    measuring = runner(suite, store, owner, tell, stopped)
    measuring.run(jobs)
    if not stopped():
        _tell_unstruck(suite, pending, measuring.struck, tell, resumed=resumed)


def _tell_unstruck(
    suite: Suite,
    pending: Sequence[JobRecord],
    struck: Mapping[str, Collection[int]],
    tell: Listener,
    *,
    resumed: bool,
) -> None:
    """A rehearsal of trouble that did not come must not look like one that was passed."""
    used = {item.job.device for item in pending}
    for device in suite.devices:
        for index, fault in enumerate(device.faults):
            if device.name in used and index not in struck.get(device.name, ()):
                tell(FaultUnstruck(device.name, fault, resumed))


def _fail(
    store: Store, done: Done, item: JobRecord, suite: Suite, tell: Listener, error: str
) -> None:
    """This machine could not be had for preparing: as of a device that stays busy."""
    dropped = _agents_left(done, item, suite)
    device = next(found for found in suite.devices if found.name == item.job.device)
    facts = _of_profile(profile_version(device.simulation))
    conclude.seal_failure(store, item.id, JobStatus.FAILED, Stage.CONNECT, error, None, facts)
    tell(JobSealed(item.job, JobStatus.FAILED, Stage.CONNECT, error, dropped))


def _agents_left(done: Done, record: JobRecord, suite: Suite) -> int:
    """The least number of agents that a job still needs: its sweep, trials and passes."""
    policy = suite.policy
    wanted = policy.trials if "latency" in policy.measure else 0
    parts = sum(kind.parts(policy) for name, kind in PASSES.items() if name in policy.measure)
    ended = [item for item in done.get(record.id, ()) if item.status is TrialStatus.OK]
    timed = sum(item.purpose == Stage.LATENCY.value for item in ended)
    passed = sum(item.purpose in PASSES for item in ended)
    swept = any(item.purpose in (Stage.ACCURACY.value, Stage.CHECK.value) for item in ended)
    return max(0, wanted - timed) + max(0, parts - passed) + (0 if swept else 1)


def _never_raising(tell: Listener) -> Listener:
    """Whoever shows progress may go away (a closed pipe); the run goes on without."""
    listening = True

    def guarded(event: Event) -> None:
        nonlocal listening
        if listening:
            try:
                tell(event)
            except Exception:  # a listener's trouble is never the run's
                listening = False

    return guarded


def _lane_jobs(
    store: Store,
    done: Done,
    pending: Sequence[JobRecord],
    prepared: Prepared,
    suite: Suite,
    tell: Listener,
) -> list[LaneJob]:
    """Jobs whose variant is ready; the others are sealed here."""
    found: list[LaneJob] = []
    versions = {item.name: profile_version(item.simulation) for item in suite.devices}
    for record in pending:
        outcome = prepared[record.job.model, record.job.recipe]
        if isinstance(outcome, Ready):
            _refuse_change(record, outcome)
    for record in pending:
        outcome = prepared[record.job.model, record.job.recipe]
        if isinstance(outcome, Ready):
            refusal: JobError | None = unsuited(record.job, outcome.variant)
            if outcome.crashes_host and record.job.kind is DeviceKind.SIMULATED:
                refusal = JobError(
                    f"{record.job.device} runs on this machine, and {outcome.reference_missing}"
                )
            if refusal is None:
                item = _with_history(done, record, outcome)
                item.profile = versions[record.job.device]
                found.append(item)
                continue
            outcome = NotReady(refusal, Stage.VERIFY, outcome.variant)
        text = outcome.error.one_line
        by_nature = isinstance(outcome.error, (NotDeployableError, UnsupportedError))
        status = JobStatus.UNSUPPORTED if by_nature else JobStatus.FAILED
        dropped = _agents_left(done, record, suite)
        facts = _of_profile(versions[record.job.device])
        conclude.seal_failure(store, record.id, status, outcome.stage, text, outcome.variant, facts)
        tell(JobSealed(record.job, status, outcome.stage, text, dropped))
    variants = [(item, item.ready.variant) for item in found]
    store.note_variants(
        [(item.id, made.sha256, made.size_bytes, item.noted) for item, made in variants]
    )
    return found


def _of_profile(version: str) -> dict[str, str] | None:
    return {"profile": version} if version else None


def _refuse_change(record: JobRecord, ready: Ready) -> None:
    """A resumed job must go on with the very file and samples that it began with."""
    facts = record.facts
    began = (record.variant_sha256, facts.get("dataset_sha256"), facts.get("labels_sha256"))
    now = (ready.variant.sha256, ready.data.samples.sha256, ready.data.labels_sha256)
    if began[0] is not None and began != now:
        what = "variant" if began[0] != now[0] else "dataset"
        raise UsageError(
            f"the {what} of {record.job.label} is not the one that this run began with",
            hint="put the old file back, or start a new run",
        )


def _with_history(done: Done, record: JobRecord, ready: Ready) -> LaneJob:
    item = LaneJob(record.job, record.id, ready)
    item.moved_to = str(record.facts.get("ran_on") or "")
    item.moved_because = str(record.facts.get("moved_because") or "")
    for trial in done.get(record.id, ()):
        item.attempts += 1
        if trial.status is TrialStatus.FAILED:
            item.failed_trials += 1
        elif trial.purpose == Stage.LATENCY.value:
            item.trials_done.add(trial.index)
            item.runtime = trial.hello.get("runtime")
        elif trial.purpose in PASSES:
            item.passes_done.add((trial.purpose, trial.index))
        else:
            item.swept = True
            item.runtime = trial.hello.get("runtime")
    return item


def _new_id(name: str) -> str:
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:24] or "run"
    return f"{datetime.now():%Y%m%d-%H%M%S}-{slug}-{secrets.token_hex(2)}"
