"""The rows as a JSON array of objects."""

from __future__ import annotations

import json
from typing import Any

from harness.reports import confusion
from harness.reports.rows import job_rows
from harness.reports.view import RunView


def render(view: RunView, width: int) -> str:
    """The stable columns; ``advisories`` is an array, and ``confusion`` a matrix or null."""
    del width
    rows = [
        {**row, "confusion": confusion.as_lists(view, record)}
        for row, record in zip(job_rows(view.jobs), view.jobs, strict=True)
    ]
    return "[\n" + ",\n".join(map(_object, rows)) + "\n]"


def _object(row: dict[str, Any]) -> str:
    """One line per key: a matrix of counts would fill thousands."""
    lines = (f"  {json.dumps(key)}: {json.dumps(row[key], allow_nan=False)}" for key in row)
    return " {\n" + ",\n".join(lines) + "\n }"
