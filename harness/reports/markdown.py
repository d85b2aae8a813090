"""The comparison as GitHub-flavoured Markdown."""

from __future__ import annotations

from harness.reports import notes, numbers, scenarios
from harness.reports.escapes import escape
from harness.reports.rows import compared_rows
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
    head = (*_LEFT, *right, *_LAST)
    lines = [
        f"### {escape(view.suite.name)}",
        "",
        f"Run `{view.run.id}`. {escape(notes.policy_line(view.suite.policy, view.jobs))}.",
        "",
        "| " + " | ".join(head) + " |",
        "|" + "|".join("---:" if name in right else "---" for name in head) + "|",
    ]
    for record, row in zip(view.jobs, rows, strict=True):
        cells = (
            row["model"],
            row["recipe"],
            row["device"],
            row["kind"],
            row["backend"],
            *numbers.cells(row, named=metric == "accuracy"),
            row["status"],
            notes.letters(record, found),
        )
        lines.append("| " + " | ".join(escape(cell) for cell in cells) + " |")
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
