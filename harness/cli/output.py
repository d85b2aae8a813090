"""Results to stdout: a coloured table on a terminal, plain text elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

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


def show_parts(
    parts: Iterable[RenderableType], plain: Callable[[int], str], width: int = 100
) -> None:
    """Print what is coloured on a terminal, and plain text of ``width`` columns elsewhere."""
    if sys.stdout.isatty():
        for part in parts:
            console().print(part)
    else:
        print(plain(width))


def summarize(path: Path, markdown: str) -> None:
    """Write Markdown; behind what is there where the file is the summary of a CI's step."""
    from harness.reports.files import write_text

    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary and path.absolute() == Path(summary).absolute():
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(markdown + "\n")
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}") from None
        return
    write_text(path, markdown + "\n")
