"""``harness recommend``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.shared.options import DEFAULT_STORE, FormatOption, RunArgument, StoreOption


def recommend(
    run: RunArgument = "last",
    max_accuracy_drop: Annotated[
        float | None,
        typer.Option(
            "--max-accuracy-drop", help="Points of accuracy below float32.", min=0, max=100
        ),
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option("--max-latency-ms", help="Of the median.", min=0)
    ] = None,
    max_size: Annotated[
        str | None, typer.Option("--max-size", help="Of the file: 2MB, or bytes.", metavar="SIZE")
    ] = None,
    max_memory: Annotated[
        str | None,
        typer.Option("--max-memory", help="Of the agent at its peak.", metavar="SIZE"),
    ] = None,
    minimize: Annotated[
        str, typer.Option("--minimize", help="latency, size or memory.", metavar="GOAL")
    ] = "latency",
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = "table",
) -> None:
    """Name the variant to take on each device: within the bounds, the fastest.

    Says why each other one was not taken, which are on the Pareto front of accuracy, latency and
    size, and when two cannot be told apart: then the smaller is taken, or else the more accurate.
    Exit code 1 if there is none to take for some model on some device, or the run is not done.
    """
    import harness
    from harness.cli.shared import output
    from harness.reports import recommend as forms

    output.check_format(format, ("table", *forms.FORMS))
    found = harness.recommend(
        run,
        max_accuracy_drop=max_accuracy_drop,
        max_latency_ms=max_latency_ms,
        max_size=max_size,
        max_memory=max_memory,
        minimize=minimize,
        store=store,
    )
    output.show_decided(format, forms.FORMS, found, forms.parts(found))
    raise typer.Exit(0 if found.complete else 1)
