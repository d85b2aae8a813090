"""What a report says beside the numbers: policy, advisories, failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.domain import Advisory, AdvisoryKind, DeviceKind, JobStatus, Policy
from harness.store import JobRecord

KIND_NOTES = {
    DeviceKind.REAL: "measured on the device",
    DeviceKind.EMULATED: "real code on an emulated device: no latency",
    DeviceKind.SIMULATED: "modelled latency, really computed accuracy",
}


@dataclass(frozen=True, slots=True)
class Note:
    """An advisory under its letter, with the jobs that carry it."""

    letter: str
    advisory: Advisory
    jobs: tuple[str, ...]


#: What ends a comparison in turns, as its jobs have it; see ``decide.ab.Contest``.
_IN_TURNS = ("answer", "max_rounds", "max_minutes")


def policy_line(policy: Policy, jobs: Sequence[JobRecord] = ()) -> str:
    """The Policy in one line; says when it is lighter than the default.

    ``jobs`` tell whether how many trials there were was up to a comparison.
    """
    in_turns = any((job.facts.get("enough") or {}).get("by") in _IN_TURNS for job in jobs)
    trials = (
        f"{policy.trials} to {policy.max_trials} trials in turns (until it was clear which is "
        "faster)"
        if in_turns
        else _trials(policy)
    )
    timed = (
        f"{trials} in fresh processes, each after {_warm_up(policy)}, "
        f"at least {policy.min_runs} runs and {policy.min_seconds:g} s"
        if "latency" in policy.measure
        else f"{', '.join(policy.measure)} only"
    )
    lighter = policy.lighter_than_default()
    if in_turns:
        lighter = tuple(item for item in lighter if not item.startswith(("trials=", "max_trials=")))
    note = f"; LIGHTER than the default ({', '.join(lighter)})" if lighter else ""
    return f"{timed}; seed {policy.seed}{note}"


def _trials(policy: Policy) -> str:
    if not policy.adapts:
        return f"{policy.trials} trial" + ("s" if policy.trials != 1 else "")
    return (
        f"{policy.trials} to {policy.max_trials} trials (until the median is known to "
        f"±{100 * policy.precision:g} %, at most {policy.max_job_seconds:g} s)"
    )


def _warm_up(policy: Policy) -> str:
    least = f"{policy.warmup_seconds:g} s of warm-up"
    longest = max(policy.warmup_seconds, policy.warmup_max_seconds)
    if not policy.steady_within or not (policy.warmup_runs or policy.warmup_seconds):
        return least
    share = f"steady within {100 * policy.steady_within:g} %"
    return f"{least} and until it is {share} (at most {longest:g} s)"


def collect(records: Sequence[JobRecord]) -> list[Note]:
    """Every different advisory once, with its letter: those of one kind stand together.

    Jobs that miss different things are told apart, so the same kind may have several letters.
    """
    by_kind: dict[AdvisoryKind, dict[Advisory, list[str]]] = {}
    for record in records:
        for advisory in record.advisories:
            same = by_kind.setdefault(advisory.kind, {})
            same.setdefault(advisory, []).append(record.job.label)
    different = (item for same in by_kind.values() for item in same.items())
    return [
        Note(_letter(index), advisory, tuple(jobs))
        for index, (advisory, jobs) in enumerate(different)
    ]


def of_job(record: JobRecord, notes: Sequence[Note]) -> list[Note]:
    """The notes that a job carries."""
    return [note for note in notes if note.advisory in record.advisories]


def letters(record: JobRecord, notes: Sequence[Note]) -> str:
    """The letters of a job's advisories."""
    return " ".join(note.letter for note in of_job(record, notes))


def unsuccessful(records: Sequence[JobRecord]) -> list[JobRecord]:
    """Jobs without numbers."""
    return [record for record in records if record.status is not JobStatus.OK]


def _letter(index: int) -> str:
    return chr(ord("a") + index % 26) * (index // 26 + 1)
