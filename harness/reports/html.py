"""The report: one HTML file that works offline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.cache import whole_file
from harness.errors import UsageError
from harness.reports import charts, notes, numbers
from harness.reports.rows import compared_rows
from harness.reports.view import RunView
from harness.store import JobRecord


def write(view: RunView, path: Path) -> Path:
    """Write the report; returns its path. Raises ``MissingExtraError``, ``HarnessError``."""
    text = render(view)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {path.parent}: {error.strerror}") from None
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
        part.chmod(0o644)
    return path


def render(view: RunView) -> str:
    """The report's text. All text from outside is escaped by the template engine."""
    script = charts.plotly_script()
    environment = Environment(
        loader=PackageLoader("harness.reports"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(
        size=numbers.size, ratio=numbers.ratio, points=numbers.points, number=numbers.significant
    )
    found = notes.collect(view.jobs)
    pairs = list(zip(view.jobs, compared_rows(view.jobs), strict=True))
    template = environment.get_template("report.html.j2")
    return template.render(
        view=view,
        lines=[_line(record, row, found) for record, row in pairs],
        policy=notes.policy_line(view.suite.policy),
        notes=found,
        kind_notes={kind.value: text for kind, text in notes.KIND_NOTES.items()},
        kinds=list(dict.fromkeys(record.job.kind.value for record in view.jobs)),
        unsuccessful=notes.unsuccessful(view.jobs),
        scatter=_figures(charts.accuracy_against_latency(view), "scatter"),
        boxes=_figures(charts.latency_by_trial(view), "boxes"),
        provenance=[_provenance(record) for record in view.jobs if record.runtime],
        environment=json.dumps(view.run.environment, indent=1, sort_keys=True),
        suite=json.dumps(view.run.suite, indent=1, sort_keys=True),
        plotly=Markup(script),  # noqa: S704  a package's own file, not text from outside
    )


def _line(record: JobRecord, row: dict[str, Any], found: Sequence[notes.Note]) -> dict[str, Any]:
    return {
        **row,
        "ok": record.status.value == "ok",
        "accuracy_text": numbers.accuracy(row),
        "latency_text": numbers.latency(row),
        "notes": [note for note in found if note.letter in notes.letters(record, found).split()],
    }


def _figures(figures: Sequence[tuple[str, str]], name: str) -> list[dict[str, Any]]:
    """Figures as JSON that cannot end the script element it stands in."""
    return [
        {
            "id": f"{name}-{index}",
            "heading": heading,
            "json": Markup(  # noqa: S704  every character that could leave the element is escaped
                text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
            ),
        }
        for index, (heading, text) in enumerate(figures)
    ]


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
