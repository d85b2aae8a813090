"""The comparison table for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Literal

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.domain import DeviceKind, JobStatus
from harness.domain.advisory import NEXT_STEP
from harness.reports import load_table, notes, numbers, scenarios
from harness.reports.profiles import summary_line
from harness.reports.rows import compared_rows
from harness.reports.texts import plain_text
from harness.reports.view import RunView
from harness.store import JobRecord

#: Stands for the heading of the main metric.
_METRIC = "top-1 %"

#: Heading, justification, least width: fixed, so that the blocks line up.
_COLUMNS: tuple[tuple[str, Literal["left", "right"], int], ...] = (
    ("recipe", "left", 12),
    ("size", "right", 8),
    ("/f32", "right", 6),
    (_METRIC, "right", 11),
    ("diff", "right", 6),
    ("median ms", "right", 15),
    ("p95", "right", 6),
    ("speed", "right", 6),
    ("MB", "right", 4),
    ("notes", "left", 5),
)

#: What an emulated device has none of.
_TIMED = ("p95", "speed", "MB")

_KIND_STYLE = {
    DeviceKind.REAL: "bold green",
    DeviceKind.EMULATED: "bold yellow",
    DeviceKind.SIMULATED: "bold magenta",
}


def render(view: RunView, width: int) -> str:
    """The table as plain text of at most ``width`` columns."""
    return plain_text([renderable(view)], width)


def renderable(view: RunView) -> RenderableType:
    """The table for rich: one block per model, device and backend; notes below."""
    found = notes.collect(view.jobs)
    rows = compared_rows(view.jobs)
    parts: list[RenderableType] = [
        Text.assemble((view.suite.name, "bold"), f"  run {view.run.id}"),
        Text(f"Policy: {notes.policy_line(view.suite.policy, view.jobs)}", style="dim"),
        Text("± is half of the 95 % interval; diff and speed are against float32", style="dim"),
    ]
    for _, group in groupby(zip(view.jobs, rows, strict=True), key=lambda pair: _block(pair[0])):
        parts.extend(_block_parts(list(group), found))
    parts.extend(scenarios.renderables(view.jobs))
    parts.extend(load_table.parts(view.jobs))
    parts.extend(_legend(found))
    parts.extend(_failures(view.jobs))
    return Group(*parts)


def _block(record: JobRecord) -> tuple[str, str, str]:
    return record.job.model, record.job.device, str(record.job.backend)


def _block_parts(
    group: Sequence[tuple[JobRecord, dict[str, Any]]], found: Sequence[notes.Note]
) -> Iterator[RenderableType]:
    record = group[0][0]
    kind = record.job.kind
    heading = Text.assemble(
        "\n",
        (f"{record.job.model} on {record.job.device}", "bold"),
        f" ({record.job.backend})  ",
        (kind.value, _KIND_STYLE[kind]),
        (f": {notes.KIND_NOTES[kind]}", "dim"),
    )
    yield heading
    runtime = next((item for item, _ in group if item.runtime), None)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    hidden = _TIMED if kind is DeviceKind.EMULATED else ()
    columns = list(_columns(row for _, row in group))
    for name, justify, width in columns:
        if name not in hidden:
            table.add_column(name, justify=justify, min_width=width, no_wrap=name != "notes")
    shown = [index for index, (name, _, _) in enumerate(columns) if name not in hidden]
    for item, row in group:
        if item.status is JobStatus.OK:
            letters = notes.letters(item, found)
            cells: list[RenderableType] = [Text(item.job.recipe), *numbers.cells(row), letters]
            table.add_row(*(cells[index] for index in shown))
        else:
            style = {"failed": "bold red", "unsupported": "yellow"}.get(item.status.value, "dim")
            table.add_row(
                Text(item.job.recipe),
                numbers.size(row["size_bytes"]),
                numbers.ratio(row["size_ratio"]),
                Text(item.status.value, style=style),
                *[""] * (len(shown) - 4),
            )
    yield table
    if runtime is not None:
        yield Text(f"{runtime.runtime} {runtime.runtime_version}", style="dim")
    yield from _operator_lines([item for item, _ in group])


def _operator_lines(records: Sequence[JobRecord]) -> Iterator[RenderableType]:
    """Where the time goes, of jobs that were profiled; what many share stands once."""
    found = {item.job.recipe: line for item in records if (line := summary_line(item))}
    for line in dict.fromkeys(found.values()):
        names = [recipe for recipe, other in found.items() if other == line]
        of = f" of {', '.join(names)}" if len(names) < len(records) else ""
        yield Text(f"operators{of}: {line}", style="dim")


def _columns(
    rows: Iterable[dict[str, Any]],
) -> Iterator[tuple[str, Literal["left", "right"], int]]:
    """The columns, the one of accuracy under the name of the block's metric."""
    metric = numbers.heading(row["metric"] for row in rows)
    for name, justify, width in _COLUMNS:
        yield metric if name == _METRIC else name, justify, width


def _legend(found: Sequence[notes.Note]) -> Iterator[RenderableType]:
    """What to do stands once for all notes of a kind, which may be as many as there are jobs."""
    if found:
        yield Text("\nNotes", style="bold")
    for kind, same in groupby(found, key=lambda note: note.advisory.kind):
        yield Padding(Text.assemble((kind.value, "yellow"), f": {NEXT_STEP[kind]}"), (0, 0, 0, 1))
        for note in same:
            line = Text.assemble((f"{note.letter} ", "bold"), note.advisory.evidence)
            yield Padding(line, (0, 0, 0, 3))


def _failures(records: Sequence[JobRecord]) -> Iterator[RenderableType]:
    lost = notes.unsuccessful(records)
    if lost:
        yield Text("\nWithout numbers", style="bold")
    same: dict[tuple[str, str, str, str], list[JobRecord]] = {}
    for item in lost:
        key = (item.job.device, item.status.value, item.stage.value, item.error or "")
        same.setdefault(key, []).append(item)
    for (device, status, stage, error), items in same.items():
        names = ", ".join(dict.fromkeys(item.job.recipe for item in items))
        reason = error or "not run yet: resume the run"
        text = Text(f"{device}: {names}: {status} at {stage}: {reason}")
        yield Padding(text, (0, 0, 0, 1))
