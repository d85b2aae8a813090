"""``harness baseline``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.shared.options import DEFAULT_STORE, RunArgument, StoreOption

app = typer.Typer(
    no_args_is_help=True,
    help="Names for runs, such as the one that every night is held against.",
)

NameOption = Annotated[str, typer.Option("--name", help="The baseline's name.", metavar="NAME")]


@app.command("set")
def set_(
    run: RunArgument,
    name: NameOption = "baseline",
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Give a run a name, in place of the run that had it.

    The name stands for the run in every command that takes one, and in the gate
    no_regression_against of a suite.
    """
    from harness.store import Store

    with Store(store, create=False) as opened:
        found = opened.set_baseline(name, run)
    print(f"{name}: {found.id}")


@app.command("list")
def list_(
    store: StoreOption = DEFAULT_STORE,
    format: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
) -> None:
    """List the baselines."""
    import dataclasses
    import json

    from rich import box
    from rich.table import Table
    from rich.text import Text

    from harness.cli.shared.output import check_format, console
    from harness.store import Store

    check_format(format, ("table", "json"))
    with Store(store, create=False) as opened:
        found = opened.baselines()
    if format == "json":
        print(json.dumps([dataclasses.asdict(item) for item in found], indent=1))
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for title in ("name", "run", "set (UTC)"):
        table.add_column(title)
    for item in found:
        gone = "" if item.exists else "  (no longer in the store)"
        at = item.set_at[:19].replace("T", " ")
        table.add_row(Text(item.name), Text(item.run + gone), at)
    console().print(table if found else "no baselines yet: harness baseline set RUN")


@app.command("clear")
def clear(name: NameOption = "baseline", store: StoreOption = DEFAULT_STORE) -> None:
    """Forget a name; its run stays."""
    from harness.store import Store

    with Store(store, create=False) as opened:
        opened.clear_baseline(name)
    print(f"{name}: forgotten")
