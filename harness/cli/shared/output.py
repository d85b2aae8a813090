"""Results to stdout: a coloured table on a terminal, plain text elsewhere."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from harness.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from harness.api.runs import RunResult

T = TypeVar("T")


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


def width() -> int:
    """Columns of plain text: as wide as the terminal, or 100."""
    return shutil.get_terminal_size((100, 24)).columns


def show(result: RunResult, format: str) -> None:
    """Print a run's rows."""
    from harness.reports.table import renderable

    show_form(format, result.text, lambda: [renderable(result.view)])


def show_form(
    format: str,
    text: Callable[[str, int], str],
    parts: Callable[[], Iterable[RenderableType]],
) -> None:
    """Print a table on a terminal as coloured ``parts``, all else as ``text(format, width)``."""
    if format == "table" and sys.stdout.isatty():
        for part in parts():
            console().print(part)
    else:
        print(text(format, width()))


def show_decided(
    format: str,
    forms: Mapping[str, Callable[[T], str]],
    found: T,
    parts: Iterable[RenderableType],
) -> None:
    """Print as one of ``forms``, or the table that ``parts`` are."""
    from harness.reports.texts import plain_text

    def text(form: str, columns: int) -> str:
        return plain_text(parts, columns) if form == "table" else forms[form](found)

    show_form(format, text, lambda: parts)


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
