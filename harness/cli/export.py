"""``harness export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.options import DEFAULT_STORE, RunArgument, StoreOption
from harness.errors import UsageError


def export(
    run: RunArgument = "last",
    format: Annotated[
        str, typer.Option("--format", help="csv, json, markdown or parquet.", metavar="FORMAT")
    ] = "csv",
    output: Annotated[
        Path | None,
        typer.Option("--out", "--output", "-o", help="A file instead of stdout.", metavar="FILE"),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Export the rows of a run for other programs.

    The columns are a stable interface, described in docs/columns.md.
    """
    import harness
    from harness.reports import FORMATS

    if format != "parquet" and (format not in FORMATS or format == "table"):
        raise UsageError(f"unknown format {format!r}", hint="known: csv, json, markdown, parquet")
    if format == "parquet" and output is None:
        raise UsageError("Parquet goes to a file", hint="name one: -o rows.parquet")
    result = harness.load(run, store=store)
    try:
        if format == "parquet":
            from harness.reports import parquet

            assert output is not None
            parquet.write(result.view, output)
        elif output is not None:
            output.write_text(result.text(format) + "\n", encoding="utf-8")
        else:
            print(result.text(format))
    except OSError as error:
        raise UsageError(f"cannot write {output}: {error.strerror}") from None
