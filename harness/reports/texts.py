"""Tables as text: of a terminal's width, as CSV, as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.reports.escapes import cell, escape

if TYPE_CHECKING:
    from rich.console import RenderableType


def plain_text(parts: Iterable[RenderableType], width: int) -> str:
    """What rich would show, without colours, in at most ``width`` columns."""
    from rich.console import Console

    out = io.StringIO()
    console = Console(file=out, width=width, color_system=None, emoji=False)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()).strip("\n")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """RFC 4180 with a header, for a spreadsheet (``escapes.cell``); empty where there is none.

    Raises ``ValueError`` for a row with something that is no column.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: cell(value) for key, value in row.items()} for row in rows)
    return out.getvalue().rstrip("\n")


def markdown_table(
    head: Sequence[str], right: Collection[str], rows: Iterable[Sequence[object]]
) -> list[str]:
    """The lines of a GitHub-flavoured table: columns of ``right`` aligned so, cells escaped."""
    return [
        "| " + " | ".join(head) + " |",
        "|" + "|".join("---:" if name in right else "---" for name in head) + "|",
        *("| " + " | ".join(map(escape, row)) + " |" for row in rows),
    ]
