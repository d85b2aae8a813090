"""The rows as a JSON array of objects."""

from __future__ import annotations

import json

from harness.reports.rows import job_rows
from harness.reports.view import RunView


def render(view: RunView, width: int) -> str:
    """The stable columns; ``advisories`` is an array."""
    del width
    return json.dumps(job_rows(view.jobs), indent=1, allow_nan=False)
