"""``harness inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def inspect(
    file: Annotated[Path, typer.Argument(help="A .tflite file.", metavar="FILE")],
    format: Annotated[
        str, typer.Option("--format", help="table or json.", metavar="FORMAT")
    ] = "table",
    tensors: Annotated[
        bool, typer.Option("--tensors", help="Also list every tensor (json always does).")
    ] = False,
) -> None:
    """Show what is in a .tflite file, and what an Edge TPU would map.

    Operators, tensors, types, quantization, costs, signatures, metadata, islands of float.
    """
    import json

    from harness.cli.shared import output
    from harness.errors import UsageError
    from harness.models.inspection import inspect_file
    from harness.reports import inspection_table

    if format not in ("table", "json"):
        raise UsageError(f"unknown format {format!r}", hint="known: table, json")
    found = inspect_file(file)
    if format == "json":
        print(json.dumps(found.as_dict(), indent=1, allow_nan=False))
    else:
        output.show_form(
            format,
            lambda _, width: inspection_table.render(found, width, tensors=tensors),
            lambda: [inspection_table.renderable(found, tensors=tensors)],
        )
