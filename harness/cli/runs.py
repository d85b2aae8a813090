"""``harness runs``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.shared.options import DEFAULT_STORE, StoreOption


def runs(
    store: StoreOption = DEFAULT_STORE,
    format: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
    limit: Annotated[int, typer.Option("--limit", help="The newest ones.", min=1)] = 20,
) -> None:
    """List the runs in the store, newest first."""
    import json

    from rich import box
    from rich.table import Table
    from rich.text import Text

    from harness.cli.shared.output import console
    from harness.errors import UsageError
    from harness.orchestrate.run_lock import was_killed
    from harness.store import Store

    if format not in ("table", "json"):
        raise UsageError(f"unknown format {format!r}", hint="known: table, json")
    with Store(store, create=False) as opened:
        found = opened.runs()[:limit]
        counts = {run.id: opened.counts(run.id) for run in found}
        status = {run.id: run.status for run in found}
        killed = [name for name, last in status.items() if last == "running" and was_killed(name)]
        for name in killed:  # if it did not end since it was looked at
            last = opened.find_run(name).status
            status[name] = "interrupted" if last == "running" else last
    if format == "json":
        print(
            json.dumps(
                [
                    {
                        "run": run.id,
                        "suite": run.suite_name,
                        "status": status[run.id],
                        "created": run.created,
                        "finished": run.finished,
                        "jobs": counts[run.id],
                    }
                    for run in found
                ],
                indent=1,
            )
        )
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("run", "suite", "status", "started (UTC)", "jobs"):
        table.add_column(name)
    for run in found:
        jobs = ", ".join(f"{count} {status}" for status, count in counts[run.id].items())
        table.add_row(
            run.id, Text(run.suite_name), status[run.id], run.created[:19].replace("T", " "), jobs
        )
    console().print(table if found else "no runs yet: harness run demo")
