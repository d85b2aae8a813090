"""From records to what people and programs read; nothing here knows a device.

``FORMATS`` are the forms of a run's rows; a new one is one file with a ``render`` and one
line here. ``html`` makes the page.
"""

from harness.reports import csv_rows, json_rows, markdown, table
from harness.reports.rows import COLUMNS, frame, job_rows
from harness.reports.view import Formatter, RunView, view_run

FORMATS: dict[str, Formatter] = {
    "table": table.render,
    "json": json_rows.render,
    "csv": csv_rows.render,
    "markdown": markdown.render,
}

__all__ = ["COLUMNS", "FORMATS", "Formatter", "RunView", "frame", "job_rows", "view_run"]
