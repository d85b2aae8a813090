"""``harness run --simulate``: the night before the night."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from typing import NoReturn

import typer

from harness.errors import UsageError


def run(
    suite: str | None,
    devices: Collection[str],
    recipes: Collection[str],
    trials: int | None,
    resume: str | None,
    store: str,
    format: str,
    report: str | None,
) -> NoReturn:
    """Run the suite on simulated devices; print its rows, and what the real run will take.

    With ``json`` one object: ``rows`` and ``rehearsal``. With ``csv`` and ``markdown`` stdout has
    the rows alone, and the prediction goes to stderr.
    """
    from harness.api.rehearsal import rehearse
    from harness.cli.shared import output, progress, reporting
    from harness.cli.shared.interrupts import stop_on_signals
    from harness.reports import rehearsal as words

    if suite is None or resume is not None:
        raise UsageError(
            "--simulate needs a suite",
            hint="a rehearsal that was interrupted goes on with --resume RUN alone",
        )
    heard = reporting.RunHeard(store)
    with progress.listener() as shown, stop_on_signals(last=heard.how_to_resume) as stop:
        result, night = rehearse(
            suite, devices=devices, recipes=recipes, trials=trials, store=store,
            tell=heard.by(shown), stop=stop,
        )  # fmt: skip
    if format == "json":
        rows = json.loads(result.text("json"))
        print(json.dumps({"rows": rows, "rehearsal": night}, indent=1, allow_nan=False))
    else:
        output.show(result, format)
        table = format == "table"
        print(("\n" if table else "") + words.text(night), file=sys.stdout if table else sys.stderr)
    reporting.after_run(result, report, store)
    assert result.outcome is not None
    raise typer.Exit(result.outcome.exit_code)
