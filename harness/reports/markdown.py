"""The comparison as GitHub-flavoured Markdown."""

from __future__ import annotations

from harness.reports import notes, numbers, scenarios
from harness.reports.escapes import escape
from harness.reports.rows import compared_rows
from harness.reports.texts import markdown_table
from harness.reports.view import RunView

_LEFT = ("model", "recipe", "device", "kind", "backend")
_RIGHT = ("size", "/f32", "top-1 %", "diff", "median ms", "p95 ms", "speed-up", "MB")
_LAST = ("status", "notes")


def render(view: RunView, width: int) -> str:
    """One table of all jobs, then notes and failures."""
    del width
    found, rows = notes.collect(view.jobs), compared_rows(view.jobs)
    metric = numbers.heading(row["metric"] for row in rows)
    right = [metric if name == "top-1 %" else name for name in _RIGHT]
    made = (
        (
            *(row[name] for name in _LEFT),
            *numbers.cells(row, named=metric == "accuracy"),
            row["status"],
            notes.letters(record, found),
        )
        for record, row in zip(view.jobs, rows, strict=True)
    )
    lines = [
        f"### {escape(view.suite.name)}",
        "",
        f"Run `{view.run.id}`. {escape(notes.policy_line(view.suite.policy, view.jobs))}.",
        "",
        *markdown_table((*_LEFT, *right, *_LAST), right, made),
    ]
    if found:
        lines.append("")
    lines.extend(
        f"- **{note.letter}** `{note.advisory.kind.value}`: {escape(note.advisory.evidence)}; "
        f"{escape(note.advisory.next_step)}"
        for note in found
    )
    if answered := scenarios.markdown(view.jobs):
        lines.extend(["", *answered])
    lost = notes.unsuccessful(view.jobs)
    if lost:
        lines.append("")
    lines.extend(
        f"- {escape(item.job.label)}: **{item.status.value}** at {item.stage.value}: "
        f"{escape(item.error or 'not run yet')}"
        for item in lost
    )
    return "\n".join(lines)
