"""Results to stdout: a coloured table on a terminal, plain text elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from harness.api.runs import RunResult


def check_format(name: str, known: Collection[str] = ()) -> None:
    """Refuse an unknown format before anything starts; ``known`` if not those of a run."""
    if not known:
        from harness.reports import FORMATS

        known = FORMATS
    if name not in known:
        raise UsageError(f"unknown format {name!r}", hint="known: " + ", ".join(known))


def console() -> Console:
    """A console for stdout; 100 columns wide where it is not a terminal."""
    from rich.console import Console

    return Console(emoji=False, width=None if sys.stdout.isatty() else 100)


def show(result: RunResult, format: str) -> None:
    """Print a run's rows."""
    if format == "table" and sys.stdout.isatty():
        from harness.reports.table import renderable

        console().print(renderable(result.view))
        return
    print(result.text(format, shutil.get_terminal_size((100, 24)).columns))
