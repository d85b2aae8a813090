"""``harness compare``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from harness.cli.shared.options import DEFAULT_STORE, FormatOption, StoreOption

_SIDE = (
    "RUN, RUN:RECIPE or RUN:MODEL/RECIPE, each also with @DEVICE; RUN is an id, its beginning, or "
    "'last'."
)


def compare(
    base: Annotated[str, typer.Argument(help=f"What is compared with: {_SIDE}", metavar="BASE")],
    head: Annotated[str, typer.Argument(help=f"What is judged: {_SIDE}", metavar="HEAD")],
    min_effect: Annotated[
        float,
        typer.Option(
            "--min-effect",
            help="Smaller relative changes of latency and memory are of no account, percent.",
            metavar="PERCENT",
        ),
    ] = 2.0,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            "--allow",
            help="What may differ: kind, device, runtime, agent, backend, threads, governor, "
            "cores or all; several with commas.",
            metavar="WHAT",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Also exit with 1 where something cannot be told.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = "table",
) -> None:
    """Judge HEAD against BASE: better, worse, or no difference shown, and how sure that is.

    Latency by a bootstrap over trials, accuracy by a paired test on the same samples, size and
    delegation exactly; many cells are corrected for their number. Jobs that differ in what would
    be taken for an effect (kind of device, runtime, threads, governor, ...) are not compared
    unless --allow names it.

    \b
    Two variants of one run:   harness compare last:float32 last:int8
    Two nights:                harness compare 20260101 last
    Two devices of one run:    harness compare last@rpi4 last@rpi5

    Exit code 1 if anything is worse, or nothing could be compared.
    """
    from harness.api import deciding
    from harness.cli.shared import output
    from harness.reports.compare_rows import FORMS
    from harness.reports.compare_table import renderable

    output.check_format(format, ("table", *FORMS))
    names = [name.strip() for text in allow or [] for name in text.split(",") if name.strip()]
    found = deciding.compare(base, head, min_effect=min_effect / 100, allow=names, store=store)
    output.show_form(format, found.text, lambda: [renderable(found.comparison)])
    if found.nothing:
        print("error: nothing could be compared: see the notes", file=sys.stderr)
        raise typer.Exit(1)
    unclear = strict and found.unclear
    if found.worse or unclear:
        raise typer.Exit(1)
