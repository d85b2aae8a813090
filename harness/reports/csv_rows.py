"""The rows as CSV (RFC 4180) with a header."""

from __future__ import annotations

import csv
import io
from typing import Any

from harness.reports.rows import COLUMNS, job_rows
from harness.reports.view import RunView


def render(view: RunView, width: int) -> str:
    """The stable columns; empty where there is no number, advisories separated by spaces."""
    del width
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in job_rows(view.jobs):
        row["advisories"] = " ".join(row["advisories"])
        writer.writerow({key: cell(value) for key, value in row.items()})
    return out.getvalue().rstrip("\n")


def cell(value: Any) -> Any:
    """Text that a spreadsheet would run as a formula is kept from it by an apostrophe."""
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value
