"""Running a suite and looking at its rows."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import harness


def rows_of(suite: Path, **options: Any) -> dict[str, dict[str, Any]]:
    """Run a suite; its rows by device, or by recipe where there is one device."""
    result = harness.run(suite, store=f"sqlite:///{suite.parent}/bad.db", **options)
    rows = result.rows()
    key = "device" if len({row["device"] for row in rows}) > 1 else "recipe"
    return {row[key]: {**row, "exit": result.outcome.exit_code} for row in rows}  # type: ignore[union-attr]


def printed_rows(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """Recipe -> row of a call with ``--format json``."""
    assert "Traceback" not in done.stderr, done.stderr
    return {row["recipe"]: row for row in json.loads(done.stdout)}
