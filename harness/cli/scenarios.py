"""``harness scenarios``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.options import DEFAULT_STORE, FormatOption, RunArgument, StoreOption
from harness.errors import UsageError


def scenarios(
    run: RunArgument = "last",
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = "table",
    summaries: Annotated[
        Path | None,
        typer.Option("--summaries", help="Write loadgen's own summaries there.", metavar="FOLDER"),
    ] = None,
) -> None:
    """Print the results of MLPerf's scenarios, VALID or not and why.

    A suite asks for them with `measure = ["scenarios"]` and `scenarios = [...]` in its Policy:
    single_stream, multi_stream, offline, server(target_qps=50, latency_bound_ms=20). They are no
    official MLPerf results: docs/scenarios.md says what differs.
    """
    import harness
    from harness.cli.shared import output
    from harness.reports import scenarios as report

    output.check_format(format, report.FORMATS)
    view = harness.load(run, store=store).view
    found = report.rows(view.jobs)
    if not found:
        raise UsageError(
            f"run {view.run.id} has no scenarios",
            hint='ask for them in the suite: [policy] measure = ["latency", "scenarios"]',
        )
    output.show_form(
        format,
        lambda form, width: report.render(view, form, width),
        lambda: report.renderables(view.jobs),
    )
    if summaries is not None:
        for path in report.write_summaries(view, summaries):
            print(f"summary: {path}", file=sys.stderr)
