"""Scenarios of a run: a row for each job and scenario, and what people read of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.errors import UsageError
from harness.metrics.scenarios import MAIN, NUMBERS, UNSUPPORTED
from harness.reports import numbers
from harness.reports.texts import csv_text, markdown_table, plain_text
from harness.reports.view import RunView
from harness.store import JobRecord

#: What keeps a result from being taken for more than it is.
NOT_OFFICIAL = (
    "queries as MLPerf Inference defines them, within bounds of this suite: not an official "
    "MLPerf result"
)

#: The stable interface of ``harness scenarios --format json|csv``, see docs/scenarios.md.
COLUMNS = (
    "run", "model", "recipe", "device", "kind", "backend", "ran_on", "scenario", "name", "verdict",
    "reasons", "measured_by", "queries", "samples", "over_bound", *NUMBERS,
)  # fmt: skip

FORMATS = ("table", "json", "csv", "markdown")

_PLACES = ("model", "device", "kind", "backend")
_HEAD = ("recipe", "scenario", "result", "early stop", "samples/s", "queries", "verdict")
_RIGHT = ("result", "early stop", "samples/s", "queries")
_STYLE = {"VALID": "bold green", "INVALID": "bold red"}


def rows(jobs: Sequence[JobRecord]) -> list[dict[str, Any]]:
    """A dictionary of ``COLUMNS`` for each scenario of each job that has any."""
    found = []
    for record in jobs:
        job = record.job
        for result in record.facts.get("scenarios") or ():
            row = {
                "run": record.run,
                "model": job.model,
                "recipe": job.recipe,
                "device": job.device,
                "kind": job.kind.value,
                "backend": str(job.backend),
                "ran_on": record.facts.get("ran_on"),
                **result,
            }
            found.append({name: row.get(name) for name in COLUMNS})
    return found


def render(view: RunView, format: str, width: int) -> str:
    """The scenarios of a run as one of ``FORMATS``; a table of at most ``width`` columns."""
    found = rows(view.jobs)
    if format == "json":
        lines = (json.dumps(row, allow_nan=False) for row in found)
        return "[\n" + ",\n".join(lines) + "\n]" if found else "[]"
    if format == "csv":
        return csv_text(COLUMNS, ({**row, "reasons": "; ".join(row["reasons"])} for row in found))
    if format == "markdown":
        return "\n".join(markdown(view.jobs))
    return plain_text(renderables(view.jobs), width)


def result_text(row: dict[str, Any]) -> str:
    """``p90 12.3 ms``, or ``81.2 /s`` of offline."""
    if row["value"] is None:
        return "-"
    name, unit, _ = MAIN[row["name"]]
    value = numbers.significant(row["value"])
    return f"{name} {value} ms" if unit == "ms" else f"{value} /s"


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """The cells of ``_HEAD`` from the scenario on."""
    early = row["early_stopping_ms"]
    return (
        row["scenario"],
        result_text(row),
        "-" if early is None else f"{numbers.significant(early)} ms",
        numbers.significant(row["samples_per_second"]),
        str(row["queries"]) if row["verdict"] != UNSUPPORTED else "-",
        row["verdict"],
    )


def why(row: dict[str, Any]) -> str:
    """What made it invalid, and who else measured it; empty where there is nothing to say."""
    by = "" if row["measured_by"] == "agent" else f"measured by {row['measured_by']}"
    return "; ".join(filter(None, [by, *row["reasons"]]))


def renderables(jobs: Sequence[JobRecord]) -> Iterator[RenderableType]:
    """The table for rich, one block per model, device and backend; nothing without scenarios."""
    found = rows(jobs)
    if not found:
        return
    yield Text("\nScenarios", style="bold")
    yield Padding(Text(NOT_OFFICIAL, style="dim"), (0, 0, 0, 1))
    for (model, device, backend, kind), group in groupby(
        found, key=lambda row: (row["model"], row["device"], row["backend"], row["kind"])
    ):
        block = list(group)
        yield Text.assemble("\n", (f"{model} on {device}", "bold"), f" ({backend})  {kind}")
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        for name in _HEAD:
            table.add_column(
                name,
                justify="right" if name in _RIGHT else "left",
                no_wrap=name not in ("recipe", "scenario"),
                overflow="fold",
            )
        notes = []
        last = None
        for row in block:
            *shown, verdict = cells(row)
            recipe = row["recipe"] if row["recipe"] != last else ""
            last = row["recipe"]
            table.add_row(
                Text(recipe), *map(Text, shown), Text(verdict, _STYLE.get(verdict, "dim"))
            )
            if why(row):
                notes.append(f"{row['recipe']}, {row['scenario']}: {why(row)}")
        yield table
        for note in notes:
            yield Padding(Text(note), (0, 0, 0, 1))


def markdown(jobs: Sequence[JobRecord]) -> list[str]:
    """The lines of a Markdown table; none without scenarios."""
    found = rows(jobs)
    if not found:
        return []
    head = (*_PLACES, *_HEAD, "why")
    lines = (
        (*(row[name] for name in (*_PLACES, "recipe")), *cells(row), why(row)) for row in found
    )
    return [f"Scenarios: {NOT_OFFICIAL}.", "", *markdown_table(head, _RIGHT, lines)]


def write_summaries(view: RunView, folder: Path) -> list[Path]:
    """Write what loadgen itself said, a file for each scenario that ran under it.

    Raises ``UsageError`` where a file cannot be written.
    """
    written = []
    for record in view.jobs:
        for part in range(len(record.facts.get("scenarios") or ())):
            kept = view.store.artifact(record.id, f"loadgen_{part}")
            if kept is None:
                continue
            path = folder / f"{record.job.index}-{part}-mlperf_log_summary.txt"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                path.write_bytes(kept.tobytes())
            except OSError as error:
                raise UsageError(f"cannot write {path}: {error.strerror}") from None
            written.append(path)
    return written
