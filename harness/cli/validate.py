"""``harness validate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.options import FormatOption


def validate(
    table: Annotated[
        Path,
        typer.Argument(
            help="CSV with the columns model, device, backend and latency_ms; dtype, threads, "
            "input_shape, soc and notes are used where they are.",
            metavar="TABLE",
        ),
    ],
    cross: Annotated[
        bool,
        typer.Option(
            "--cross-validate",
            help="Predict each model by a fit to all others (a minute or two).",
        ),
    ] = False,
    cross_family: Annotated[
        bool,
        typer.Option(
            "--cross-validate-family",
            help="The same without the model's whole family: harder.",
        ),
    ] = False,
    rows: Annotated[bool, typer.Option("--rows", help="Also list every row.")] = False,
    plot: Annotated[
        Path | None,
        typer.Option(
            "--plot", help="Draw predicted against published, per device (SVG).", metavar="FILE"
        ),
    ] = None,
    format: FormatOption = "table",
) -> None:
    """Hold predictions against a table of published latencies.

    Models, devices and backends may be in anybody's words: "Raspberry Pi 4 + Coral USB (USB3)",
    "TFLite 2.5.0 CPU (default int8 kernels)". Per row: device, backend, threads, model, dtype,
    published_ms, predicted_ms, low_ms, high_ms and status, which is ok or says why the row cannot
    be predicted. Then the median error, the share within a factor of 1.5 and how often intervals
    hold the truth, by device and model, beside two baselines.
    """
    import os
    import sys

    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # see harness calibrate
    import harness
    from harness.cli.shared import output
    from harness.reports import predictions

    output.check_format(format, predictions.FORMS)
    found = harness.validate(
        table,
        without="family" if cross_family else "model" if cross else "",
        tell=lambda text: print(text, file=sys.stderr, flush=True),
    )
    if plot is not None:
        from harness.reports import prediction_plot

        prediction_plot.write(found, plot)
        print(f"wrote {plot}", file=sys.stderr)
    output.show_form(
        format,
        lambda form, width: predictions.validation_text(found, form, width, rows=rows),
        lambda: predictions.validation_parts(found, rows=rows),
    )
