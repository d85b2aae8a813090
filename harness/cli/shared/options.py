"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

#: ``harness.store.DEFAULT_STORE``, without importing it.
DEFAULT_STORE = "sqlite:///results/harness.db"

StoreOption = Annotated[
    str,
    typer.Option(
        "--store",
        envvar="HARNESS_STORE",
        help="Where results are kept: any SQLAlchemy URL.",
        metavar="URL",
    ),
]

RunArgument = Annotated[
    str,
    typer.Argument(
        help="A run's id, the beginning of one, a baseline's name, or 'last'.", metavar="RUN"
    ),
]

FormatOption = Annotated[
    str,
    typer.Option("--format", help="table, json, csv or markdown.", metavar="FORMAT"),
]
