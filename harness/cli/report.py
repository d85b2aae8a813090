"""``harness report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.options import DEFAULT_STORE, RunArgument, StoreOption


def report(
    run: RunArgument = "last",
    output: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "--output",
            "-o",
            help="The file; default results/reports/RUN.html.",
            metavar="FILE.html",
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write the HTML report of a run: one file that works offline."""
    import harness

    result = harness.load(run, store=store)
    target = output or Path("results") / "reports" / f"{result.id}.html"
    print(result.report(target).resolve())
