"""The rows as CSV (RFC 4180) with a header."""

from __future__ import annotations

from harness.reports.rows import COLUMNS, job_rows
from harness.reports.texts import csv_text
from harness.reports.view import RunView


def render(view: RunView, width: int) -> str:
    """The stable columns; empty where there is no number, advisories separated by spaces."""
    del width
    found = job_rows(view.jobs)
    return csv_text(COLUMNS, ({**row, "advisories": " ".join(row["advisories"])} for row in found))
