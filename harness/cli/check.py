"""``harness check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.options import DEFAULT_STORE, FormatOption, RunArgument, StoreOption


def check(
    run: RunArgument = "last",
    gates: Annotated[
        str | None,
        typer.Option(
            "--gates",
            help="A suite, or a file with a [gates] table alone; default: the run's own suite.",
            metavar="SUITE.toml",
        ),
    ] = None,
    junit: Annotated[
        Path | None,
        typer.Option("--junit", help="Also write JUnit XML.", metavar="FILE.xml"),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            "--markdown",
            help="Also write Markdown; appended where it is $GITHUB_STEP_SUMMARY.",
            metavar="FILE.md",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Show what passed, too (the other formats always do).")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = "table",
) -> None:
    """Hold a run against the gates of a suite.

    Exit code 0 if every gate passed, 1 if one failed or cannot be told: a cell without
    its number is never passed.
    """
    import harness
    from harness.cli.shared import output
    from harness.reports import gates as forms
    from harness.reports import junit as junit_xml
    from harness.reports.files import write_text

    output.check_format(format, ("table", *forms.FORMS))
    found = harness.check(run, gates=gates, store=store)
    output.show_decided(format, forms.FORMS, found, forms.parts(found, everything=everything))
    if junit is not None:
        write_text(junit, junit_xml.render(found))
    if markdown is not None:
        output.summarize(markdown, forms.as_markdown(found))
    raise typer.Exit(0 if found.passed else 1)
