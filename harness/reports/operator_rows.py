"""Profiles and comparisons of profiles as plain values: JSON, CSV, Markdown. Times in ms."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.metrics.profile import ProfiledOperator
from harness.reports import numbers
from harness.reports.escapes import escape
from harness.reports.profiles import ComparedProfiles, JobProfile
from harness.reports.texts import csv_text, markdown_table

_JOB = ("run", "model", "recipe", "device", "kind", "backend")
_OPERATOR = (
    "place", "type", "name", "node", "output", "shape", "dtype", "delegated", "covers", "calls",
    "time_ms", "share", "cumulative",
)  # fmt: skip
#: What ``flat`` gives.
COLUMNS = (*_JOB, *_OPERATOR)

_PAIR = (
    "type", "output", "shape", "base_place", "head_place", "base_ms", "head_ms", "ratio",
    "difference_ms", "only",
)  # fmt: skip


def profile_row(item: JobProfile, top: int | None = None) -> dict[str, Any]:
    """One job: totals, types and the ``top`` operators (all without), the slowest first."""
    made = {**_job(item), "reason": item.reason or None}
    profile = item.profile
    if profile is None:
        return made
    operators, sum_ = [], 0.0
    for operator in profile.top(profile.count if top is None else top):
        sum_ += operator.time_ns or 0.0
        operators.append(
            {
                **_operator(operator),
                "share": profile.share(operator.time_ns),
                "cumulative": profile.share(sum_) if profile.timed else None,
            }
        )
    return {
        **made,
        "timed": profile.timed,
        "statistic": "midmean" if profile.robust else "mean",
        "profiled_runs": profile.runs,
        "clock_step_ms": profile.resolution_ns / 1e6,
        "sum_ms": _ms(profile.sum_ns),
        "profiled_ms": _ms(profile.elapsed_ns),
        "unprofiled_median_ms": _ms(item.median_ns),
        "profiler_overhead": item.profiler_share,
        "count": profile.count,
        "left_out": profile.left_out,
        "near_clock_step": profile.near_resolution,
        "types": [
            {
                "type": total.type,
                "count": total.count,
                "delegated": total.delegated,
                "time_ms": _ms(total.time_ns),
                "share": profile.share(total.time_ns),
            }
            for total in profile.types
        ],
        "operators": operators,
        "unseen": [
            {"node": node, "type": type_, "output": output}
            for node, type_, output in profile.unseen
        ],
        "unseen_count": profile.unseen_count,
        "inside": profile.inside,
        "note": profile.note or None,
    }


def compared_row(item: ComparedProfiles, top: int | None = None) -> dict[str, Any]:
    """Two jobs: sums, and the ``top`` pairs (all without), the largest difference first."""
    found = item.comparison
    return {
        "base": {**_job(item.base), "sum_ms": _ms(found.base.sum_ns)},
        "head": {**_job(item.head), "sum_ms": _ms(found.head.sum_ns)},
        "differences": list(item.differences),
        "difference_ms": _ms(found.difference_ns),
        "left_out": found.base.left_out + found.head.left_out,
        "operators": [
            {
                "type": pair.shown.type,
                "output": pair.shown.output,
                "shape": pair.shown.shape,
                "base_place": pair.base.place if pair.base else None,
                "head_place": pair.head.place if pair.head else None,
                "base_ms": _ms(pair.base.time_ns) if pair.base else None,
                "head_ms": _ms(pair.head.time_ns) if pair.head else None,
                "ratio": pair.ratio,
                "difference_ms": _ms(pair.difference_ns),
                "only": None if pair.base and pair.head else "base" if pair.base else "head",
            }
            for pair in found.pairs[:top]
        ],
    }


def flat(items: Sequence[JobProfile], top: int | None = None) -> list[dict[str, Any]]:
    """One row per operator and job, for a data frame."""
    return [
        {**_job(item), **{key: operator[key] for key in _OPERATOR}}
        for item in items
        if item.profile is not None
        for operator in profile_row(item, top)["operators"]
    ]


def as_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """A list of objects."""
    return json.dumps(rows, indent=1, allow_nan=False)


def profiles_csv(items: Sequence[JobProfile], top: int | None) -> str:
    """A row per operator and job; jobs without a profile have none."""
    return _csv(COLUMNS, flat(items, top))


def compared_csv(items: Sequence[ComparedProfiles], top: int | None) -> str:
    """A row per pair; the jobs of both sides in front."""
    rows = [
        {
            **{f"{side}_{key}": made[side][key] for side in ("base", "head") for key in _JOB},
            **pair,
        }
        for made in (compared_row(item, top) for item in items)
        for pair in made["operators"]
    ]
    return _csv((*(f"{side}_{key}" for side in ("base", "head") for key in _JOB), *_PAIR), rows)


def profiles_markdown(items: Sequence[JobProfile], top: int) -> str:
    """A table per job."""
    lines: list[str] = []
    for item in items:
        made = profile_row(item, top)
        lines += [f"### {escape(item.record.job.label)} ({item.record.job.kind.value})", ""]
        if item.profile is None:
            lines += [escape(item.reason), ""]
            continue
        head = ("operator", "output", "shape", "type", "delegated", "ms", "%", "cum %")
        rows = [
            (
                operator["type"] if operator["node"] is not None else operator["name"],
                operator["output"].split(";")[0], by(operator["shape"]), operator["dtype"],
                yes_no(operator["delegated"]), numbers.significant(operator["time_ms"]),
                percent(operator["share"]), percent(operator["cumulative"]),
            )
            for operator in made["operators"]
        ]  # fmt: skip
        lines += [*_table(head, rows, 5), ""]
        sums = (made["sum_ms"], made["unprofiled_median_ms"], made["profiled_ms"])
        named = zip(("operators", "unprofiled median", "profiled"), sums, strict=True)
        lines += [", ".join(f"{name} {numbers.significant(ms)} ms" for name, ms in named), ""]
    return "\n".join(lines).strip("\n")


def compared_markdown(items: Sequence[ComparedProfiles], top: int) -> str:
    """A table per pair of jobs."""
    lines: list[str] = []
    for item in items:
        made = compared_row(item, top)
        names = [
            f"{side.record.job.label} ({side.record.job.kind.value}, run {side.record.run})"
            for side in (item.base, item.head)
        ]
        lines += [f"### {escape(names[0])} against {escape(names[1])}", ""]
        head = ("operator", "output", "shape", "base ms", "head ms", "ratio", "difference ms")
        rows = [
            (
                pair["type"], pair["output"].split(";")[0], by(pair["shape"]),
                numbers.significant(pair["base_ms"]), numbers.significant(pair["head_ms"]),
                f"only {pair['only']}" if pair["only"] else numbers.ratio(pair["ratio"]),
                signed(pair["difference_ms"]),
            )
            for pair in made["operators"]
        ]  # fmt: skip
        lines += [*_table(head, rows, 3), ""]
        lines += [f"All operators: {signed(made['difference_ms'])} ms", ""]
    return "\n".join(lines).strip("\n")


def by(shape: Sequence[int] | None) -> str:
    """``1x8x8x24``."""
    return "x".join(map(str, shape)) if shape else ""


def yes_no(value: bool | None) -> str:
    """Whether something was delegated; ``?`` where nobody knows."""
    return {True: "yes", False: "no", None: "?"}[value]


def percent(share: float | None) -> str:
    """A share with one decimal, without its sign."""
    return "-" if share is None else f"{share * 100:.1f}"


def signed(value: float | None) -> str:
    """A difference with its sign."""
    if not value:
        return "-" if value is None else "0"
    return f"{'+' if value > 0 else '-'}{numbers.significant(abs(value))}"


def _job(item: JobProfile) -> dict[str, Any]:
    record = item.record
    return {
        "run": record.run,
        "model": record.job.model,
        "recipe": record.job.recipe,
        "device": record.facts.get("ran_on") or record.job.device,
        "kind": record.job.kind.value,
        "backend": str(record.job.backend),
    }


def _operator(operator: ProfiledOperator) -> dict[str, Any]:
    return {
        "place": operator.place,
        "type": operator.type,
        "name": operator.name,
        "node": operator.node,
        "output": operator.output,
        "shape": None if operator.shape is None else list(operator.shape),
        "dtype": operator.dtype,
        "delegated": operator.delegated,
        "covers": operator.covers,
        "calls": operator.calls,
        "time_ms": _ms(operator.time_ns),
    }


def _ms(ns: float | None) -> float | None:
    return None if ns is None else ns / 1e6


def _csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    return csv_text(
        columns,
        ({key: by(row[key]) if key == "shape" else row[key] for key in columns} for row in rows),
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> list[str]:
    return markdown_table(head, head[left:], rows)
