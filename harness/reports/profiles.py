"""The profiles of a run's jobs, chosen by name, and which two are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from harness.domain import JobStatus, Stage
from harness.errors import UsageError
from harness.metrics.profile import Comparison, Profile, compare
from harness.reports.view import RunView
from harness.store import JobRecord

#: By what jobs are chosen, and how each is said on the command line.
_KEYS: Mapping[str, Callable[[JobRecord], str]] = {
    "model": lambda record: record.job.model,
    "recipe": lambda record: record.job.recipe,
    "device": lambda record: record.job.device,
    "backend": lambda record: str(record.job.backend),
}


@dataclass(frozen=True, slots=True)
class JobProfile:
    """A job with its profile, or with the reason why there is none."""

    record: JobRecord
    profile: Profile | None
    reason: str = ""

    @property
    def median_ns(self) -> float | None:
        """The median of the job's latency trials, which no profiler slowed."""
        found = self.record.measurements.get("latency_median")
        return found.value * 1e6 if found else None

    @property
    def profiler_share(self) -> float | None:
        """How much slower an inference was with the profiler on: 0.2 is 20 %."""
        elapsed = self.profile.elapsed_ns if self.profile else None
        return elapsed / self.median_ns - 1 if elapsed and self.median_ns else None

    @property
    def covered(self) -> float | None:
        """The sum of the operators over the unprofiled median."""
        total = self.profile.sum_ns if self.profile else None
        return total / self.median_ns if total is not None and self.median_ns else None


@dataclass(frozen=True, slots=True)
class ComparedProfiles:
    """Two jobs and their operators, pair by pair; ``differences`` says what else differs."""

    base: JobProfile
    head: JobProfile
    comparison: Comparison
    differences: tuple[str, ...]


Choice = Mapping[str, str | None]


def job_profiles(view: RunView, choice: Choice | None = None) -> list[JobProfile]:
    """One for each job that is chosen, in the order of the report.

    ``choice``: ``model``, ``recipe``, ``device`` and ``backend``; what is ``None`` or missing takes
    all. Raises ``UsageError`` for a name that no job has, and for a run without profiles.
    """
    if Stage.OPERATORS.value not in view.suite.policy.measure:
        measured = ", ".join(view.suite.policy.measure)
        raise UsageError(
            f"run {view.run.id} has no profiles: it measured {measured}",
            hint='in the suite\'s [policy]: measure = ["latency", "accuracy", "operators"]',
        )
    chosen = list(view.jobs)
    for key, wanted in (choice or {}).items():
        if wanted is None:
            continue
        known = sorted({_KEYS[key](record) for record in view.jobs})
        if wanted not in known:
            raise UsageError(
                f"run {view.run.id} has no {key} {wanted!r}", hint="it has: " + ", ".join(known)
            )
        chosen = [record for record in chosen if _KEYS[key](record) == wanted]
    if not chosen:
        raise UsageError(f"run {view.run.id} has no job that is all of what was asked for")
    facts = view.store.facts_of(view.run.id, Stage.OPERATORS.value)
    found = []
    for record in chosen:
        kept = facts.get(record.id, {})
        if "operators" in kept:
            found.append(JobProfile(record, Profile.from_json(kept["operators"])))
        else:
            found.append(JobProfile(record, None, _reason(record, kept.get("unsupported"))))
    return found


def _reason(record: JobRecord, unsupported: object) -> str:
    if unsupported:
        return str(unsupported)
    if record.status is JobStatus.PENDING:
        return "not run yet: resume the run"
    if record.status is not JobStatus.OK:
        return f"{record.status.value} at {record.stage.value}: {record.error or 'no reason kept'}"
    return "nothing was profiled"


def compared_profiles(
    base: RunView, head: RunView, choice: Choice, against: Choice, *, across_kinds: bool = False
) -> list[ComparedProfiles]:
    """Every chosen job of ``base`` with the job of ``head`` that is its like.

    The like has the same model, recipe, device and backend, or what ``against`` says in its place.
    Raises ``UsageError`` where there is no pair of profiles, or where their kinds of device differ
    and this was not asked for.
    """
    replaced = {key: name for key, name in against.items() if name is not None}
    wanted = {key: None if key in replaced else choice.get(key) for key in _KEYS} | replaced
    likes = {_key(item): item for item in job_profiles(head, wanted)}
    found, missing = [], []
    for item in job_profiles(base, choice):
        like = likes.get(_key(item, replaced))
        if like is None:
            missing.append(f"{item.record.job.label}: run {head.run.id} has no like of it")
        elif like.record.id == item.record.id and base.run.id == head.run.id:
            continue  # nothing is learnt from a job beside itself
        elif item.profile is None or like.profile is None:
            lacking = item if item.profile is None else like
            missing.append(f"{lacking.record.job.label}: {lacking.reason}")
        else:
            _refuse_kinds(item, like, across_kinds=across_kinds)
            pair = compare(item.profile, like.profile)
            found.append(ComparedProfiles(item, like, pair, _differences(item, like)))
    if not found:
        raise UsageError(
            "there are no two profiles to compare" + "".join(f"\n  {text}" for text in missing[:5]),
            hint="name another run (--against), or another recipe, device or backend of this one "
            "(--against-recipe, --against-device, --against-backend)",
        )
    return found


def _key(item: JobProfile, replaced: Choice | None = None) -> tuple[str, ...]:
    changed = replaced or {}
    return tuple(str(changed.get(key) or of(item.record)) for key, of in _KEYS.items())


def _refuse_kinds(base: JobProfile, head: JobProfile, *, across_kinds: bool) -> None:
    kinds = [item.record.job.kind.value for item in (base, head)]
    if kinds[0] != kinds[1] and not across_kinds:
        raise UsageError(
            f"{base.record.job.label} is {kinds[0]} and {head.record.job.label} {kinds[1]}: "
            "times of two kinds of device say nothing of each other",
            hint="--across-kinds compares them all the same",
        )


def _differences(base: JobProfile, head: JobProfile) -> tuple[str, ...]:
    """What of the two is not the same, beside their times."""

    def sides(item: JobProfile) -> Iterable[tuple[str, object]]:
        record, platform = item.record, item.record.facts.get("platform") or {}
        yield "kind", record.job.kind.value
        for key, of in _KEYS.items():
            yield key, of(record)
        yield "device that ran it", record.facts.get("ran_on")
        yield "runtime", f"{record.runtime} {record.runtime_version}"
        yield "governor", platform.get("governor")
        yield "variant", (record.variant_sha256 or "")[:12]

    return tuple(
        f"{name} {one or 'none'} / {other or 'none'}"
        for (name, one), (_, other) in zip(sides(base), sides(head), strict=True)
        if one != other
    )


def summary_line(record: JobRecord) -> str:
    """``most time CONV_2D 71 %, ADD 9 %`` of a profiled job, or why it is none; else nothing."""
    kept = record.facts.get("operators") or {}
    if "unsupported" in kept:
        return f"not profiled: {kept['unsupported'] or 'no reason kept'}"
    shares: Sequence[tuple[str, int, float | None]] = kept.get("types") or ()
    if not shares:
        return ""
    if any(share is None for _, _, share in shares):
        counts = ", ".join(f"{name} x{count}" for name, count, _ in shares)
        return f"{kept['count']} operators, {kept['delegated']} delegated: {counts}"
    named = (f"{name} {share * 100:.0f} %" for name, _, share in shares if share)
    return "most time " + ", ".join(text for text in named if not text.endswith(" 0 %"))
