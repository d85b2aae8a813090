"""``harness history``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.options import DEFAULT_STORE, FormatOption, StoreOption


def history(
    device: Annotated[
        str, typer.Option("--device", "-d", help="The device that is looked at.", metavar="DEVICE")
    ],
    metric: Annotated[
        str,
        typer.Option("--metric", help="latency, accuracy, size or memory.", metavar="METRIC"),
    ] = "latency",
    model: Annotated[str, typer.Option("--model", "-m", help="Only this model.")] = "",
    recipe: Annotated[str, typer.Option("--recipe", "-r", help="Only this recipe.")] = "",
    backend: Annotated[
        str, typer.Option("--backend", "-b", help="Only this backend, such as 'cpu x4'.")
    ] = "",
    suite: Annotated[str, typer.Option("--suite", help="Only runs of this suite.")] = "",
    last: Annotated[
        int, typer.Option("--last", help="Only the newest runs; 0: all.", min=0, metavar="N")
    ] = 60,
    least: Annotated[
        float | None,
        typer.Option(
            "--min-effect",
            help="Leave out changes of fewer per cent. Default: 2 for latency and memory, else 0.",
            min=0,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option("--plot", help="Also write a page with pictures.", metavar="FILE.html"),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = "table",
) -> None:
    """Show a number over all runs, where its level changed, and why.

    Each change is put down to what changed with it: the model's file, the runtime, the device
    or its firmware, how it was measured; or it is unexplained. A model with canary = true in the
    suite tells the device's own drift from a change of the model.
    """
    import harness
    from harness.cli.shared import output
    from harness.reports import history as forms

    output.check_format(format, ("table", *forms.FORMS))
    found = harness.history(
        metric,
        device,
        model=model,
        recipe=recipe,
        backend=backend,
        suite=suite,
        last=last,
        least_effect=None if least is None else least / 100,
        store=store,
    )
    output.show_decided(format, forms.FORMS, found, forms.parts(found))
    if plot is not None:
        from harness.reports import history_plot

        history_plot.write(found, plot)
