"""Running a suite and looking at its rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import harness


def rows_of(suite: Path, **options: Any) -> dict[str, dict[str, Any]]:
    """Run a suite; its rows by device, or by recipe where there is one device."""
    result = harness.run(suite, store=f"sqlite:///{suite.parent}/bad.db", **options)
    rows = result.rows()
    key = "device" if len({row["device"] for row in rows}) > 1 else "recipe"
    return {row[key]: {**row, "exit": result.outcome.exit_code} for row in rows}  # type: ignore[union-attr]
