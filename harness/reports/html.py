"""The report: one HTML file that works offline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.domain import Measurement
from harness.reports import (
    charts,
    confusion,
    load_table,
    notes,
    numbers,
    operator_charts,
    scenario_charts,
    scenarios,
)
from harness.reports.files import write_text
from harness.reports.rows import compared_rows
from harness.reports.view import RunView
from harness.store import JobRecord

#: Accuracy measurements and their headings, in the order of the columns.
_DETAIL = {
    "top1": "top-1 %",
    "top5": "top-5 %",
    "balanced_accuracy": "balanced %",
    "auc": "AUC %",
    "map": "mAP %",
    "map50": "mAP at 0.5 %",
    "miou": "mIoU %",
    "pixel_accuracy": "pixels right %",
    "mse": "MSE",
    "agreement_top1": "same class as float32 %",
    "agreement_cosine": "cosine with float32",
    "agreement_snr": "signal to noise, dB",
}


def write(view: RunView, path: Path) -> Path:
    """Write the report; returns its path. Raises ``MissingExtraError``, ``HarnessError``."""
    return write_text(path, render(view))


def render(view: RunView) -> str:
    """The report's text. All text from outside is escaped by the template engine."""
    script = charts.plotly_script()
    environment = Environment(
        loader=PackageLoader("harness.reports"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(size=numbers.size, ratio=numbers.ratio, number=numbers.significant)
    found = notes.collect(view.jobs)
    rows = compared_rows(view.jobs)
    pairs = list(zip(view.jobs, rows, strict=True))
    metric = numbers.heading(row["metric"] for row in rows)
    template = environment.get_template("report.html.j2")
    return template.render(
        view=view,
        metric=metric,
        lines=[_line(record, row, found, named=metric == "accuracy") for record, row in pairs],
        detail=_detail(view.jobs),
        confusions=confusion.shown(view),
        policy=notes.policy_line(view.suite.policy, view.jobs),
        notes=found,
        kind_notes={kind.value: text for kind, text in notes.KIND_NOTES.items()},
        kinds=list(dict.fromkeys(record.job.kind.value for record in view.jobs)),
        unsuccessful=notes.unsuccessful(view.jobs),
        scatter=_figures(charts.accuracy_against_latency(view), "scatter"),
        boxes=_figures(charts.latency_by_trial(view), "boxes"),
        scenarios=[
            {**row, "cells": scenarios.cells(row), "why": scenarios.why(row)}
            for row in scenarios.rows(view.jobs)
        ],
        not_official=scenarios.NOT_OFFICIAL,
        served=_figures(scenario_charts.latency_over_time(view), "served"),
        **_profiles(view),
        loads=_figures(charts.load_over_time(view), "loads"),
        load_rows=[
            load_table.sustained_cells(job)
            for job in view.jobs
            if "sustained_first" in job.measurements
        ],
        energy_rows=[
            load_table.energy_cells(job) for job in view.jobs if "energy" in job.measurements
        ],
        provenance=[_provenance(record) for record in view.jobs if record.runtime],
        environment=json.dumps(view.run.environment, indent=1, sort_keys=True),
        suite=json.dumps(view.run.suite, indent=1, sort_keys=True),
        plotly=Markup(script),  # noqa: S704  a package's own file, not text from outside
    )


def _profiles(view: RunView) -> dict[str, Any]:
    """Where the time of each profiled job goes; figures under the same key as the others."""
    found, lines = operator_charts.pictures(view)
    drawn = [(item["label"], item["figure"]) for item in found if item["figure"]]
    figures = iter(_figures(drawn, "operators"))
    profiled = [{**item, "figure": next(figures) if item["figure"] else None} for item in found]
    return {"profiled": profiled, "not_profiled": lines}


def _line(
    record: JobRecord, row: dict[str, Any], found: Sequence[notes.Note], *, named: bool
) -> dict[str, Any]:
    return {
        **row,
        "ok": record.status.value == "ok",
        "accuracy_text": numbers.named_accuracy(row) if named else numbers.accuracy(row),
        "difference_text": numbers.difference(row),
        "latency_text": numbers.latency(row),
        "notes": notes.of_job(record, found),
    }


def _detail(jobs: Sequence[JobRecord]) -> dict[str, Any]:
    """Every accuracy measurement, with its interval: a column per metric that any job has."""
    having = [job for job in jobs if _DETAIL.keys() & job.measurements.keys()]
    names = [name for name in _DETAIL if any(name in job.measurements for job in having)]
    return {
        "titles": [_DETAIL[name] for name in names],
        "rows": [
            {
                "job": job.job.label,
                "kind": job.job.kind.value,
                "cells": [_interval(job.measurements.get(name)) for name in names],
            }
            for job in having
        ],
    }


def _interval(found: Measurement | None) -> dict[str, Any]:
    if found is None:
        return {"value": None, "text": "", "n": 0}
    factor, digits = (100, 2) if found.unit in ("share", "area") else (1, 4)

    def number(value: float) -> str:
        return f"{value * factor:.2f}" if factor == 100 else numbers.significant(value, digits)

    ends = "" if found.low is None or found.high is None else (
        f" [{number(found.low)}, {number(found.high)}]"
    )  # fmt: skip
    return {"value": found.value, "text": number(found.value) + ends, "n": found.n}


def _figures(figures: Sequence[tuple[str, str]], name: str) -> list[dict[str, Any]]:
    """Figures as JSON that cannot end the script element it stands in."""
    return [
        {
            "id": f"{name}-{index}",
            "heading": heading,
            "json": for_script(text),
        }
        for index, (heading, text) in enumerate(figures)
    ]


def for_script(text: str) -> Markup:
    """JSON that cannot end the script element it stands in."""
    return Markup(  # noqa: S704  every character that could leave the element is escaped
        text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    )


def _provenance(record: JobRecord) -> dict[str, Any]:
    facts, manifest = record.facts, record.manifest
    platform = facts.get("platform") or {}
    converter = manifest.get("converter") or {}
    reference = facts.get("reference") or {}
    compared = "none"
    if reference:
        compared = "identical" if reference.get("identical") else (
            f"{'equal within' if reference.get('equal') else 'DIFFERS:'} "
            f"{numbers.significant(reference.get('relative_rms'), 2)}"
        )  # fmt: skip
    return {
        "job": record.job.label,
        "kind": record.job.kind.value,
        "variant": record.variant_sha256,
        "runtime": f"{record.runtime} {record.runtime_version}",
        "threads": f"{record.job.backend.threads} asked, {facts.get('threads_found') or '?'} found",
        "machine": " ".join(
            str(platform[key]) for key in ("cpu_model", "system", "release", "machine", "libc")
            if platform.get(key)
        ),
        "state": f"governor {platform.get('governor') or 'unknown'}, "
        f"temperature {platform.get('temperature_c') or 'unknown'}",
        "converter": ", ".join(f"{name} {version}" for name, version in converter.items())
        or "none",
        "calibration": manifest.get("calibration_samples") or "none",
        "dataset": facts.get("dataset_sha256"),
        "compared": compared,
        "sealed": record.sealed_at,
    }  # fmt: skip
