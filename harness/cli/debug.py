"""``harness debug``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.sources import (
    CalibrationOption,
    DataOption,
    ImageSizeOption,
    MeanOption,
    ModelArgument,
    OutputOption,
    ScaleOption,
    StdOption,
    TrainOption,
)


def debug(
    model: ModelArgument,
    data: DataOption,
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", help="The recipe that loses accuracy.")
    ] = "int8",
    calibration: CalibrationOption = None,
    train: TrainOption = None,
    samples: Annotated[
        int, typer.Option("--samples", help="Samples compared operator by operator.", min=1)
    ] = 64,
    evaluate: Annotated[
        int, typer.Option("--evaluate", help="Samples evaluated end to end; 0: all.", min=0)
    ] = 1000,
    worst: Annotated[
        int, typer.Option("--worst", help="How many operators to keep in float.", min=1)
    ] = 8,
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    image_size: ImageSizeOption = None,
    output: OutputOption = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="Also write a picture as HTML.", metavar="FILE")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="table or json.", metavar="FORMAT")
    ] = "table",
) -> None:
    """Show which operators cost a quantized model its accuracy.

    Ranks them by the error that each makes by itself, then keeps the worst ones in float, one
    at a time and together, and evaluates each. Ends with the int8_selective recipe that wins
    back most.
    """
    import dataclasses
    import json

    import harness
    from harness.cli.shared import converted
    from harness.cli.shared.interrupts import stop_on_signals
    from harness.cli.shared.output import width
    from harness.config import sources
    from harness.errors import HarnessError, UsageError
    from harness.reports import loss_table

    converted.check_format(format)
    if plot is not None and not plot.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {plot.absolute().parent} for the picture")
    listener = converted.Listener()
    with stop_on_signals("giving it up") as stop:
        try:
            found = harness.debug(
                model,
                recipe,
                data,
                calibration=calibration,
                training=train,
                preprocessing=sources.preprocessing(scale, mean, std),
                image_size=sources.image_size(image_size),
                output=output,
                effort=harness.Effort(samples, evaluate, worst),
                progress=listener.progress,
                stopped=stop,
            )
        except HarnessError:
            if stop():
                raise typer.Exit(130) from None
            raise
    rows = dataclasses.asdict(found)
    if format == "json":
        print(json.dumps(rows, indent=1))
    else:
        print(loss_table.render(rows, width()))
    if plot is not None:
        from harness.reports import loss_plot

        loss_plot.write(rows, plot)
