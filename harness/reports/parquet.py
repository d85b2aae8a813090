"""The rows as a Parquet file."""

from __future__ import annotations

from pathlib import Path

from harness.errors import MissingExtraError
from harness.reports.rows import frame
from harness.reports.view import RunView


def write(view: RunView, path: Path) -> None:
    """The stable and the derived columns; raises ``MissingExtraError`` without pyarrow."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise MissingExtraError(
            "Parquet needs pyarrow", hint="pip install 'edge-harness[report]'"
        ) from None
    frame(view.jobs).to_parquet(path, engine="pyarrow", index=False)
