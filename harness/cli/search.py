"""``harness search``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.shared.options import DEFAULT_STORE, StoreOption
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


def search(
    model: ModelArgument,
    data: DataOption,
    calibration: CalibrationOption = None,
    train: TrainOption = None,
    max_accuracy_drop: Annotated[
        float,
        typer.Option("--max-accuracy-drop", help="Points of accuracy that may be lost.", min=0),
    ] = 0.5,
    minimize: Annotated[
        str, typer.Option("--minimize", help="latency, size or memory.", metavar="GOAL")
    ] = "latency",
    device: Annotated[
        list[str] | None,
        typer.Option(
            "--device", "-d", help="A device with a profile; may be repeated. Default: local."
        ),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option("--recipe", "-r", help="Try these instead of the usual ones."),
    ] = None,
    budget: Annotated[
        float, typer.Option("--budget", help="Minutes; the same command goes on later.", min=0.01)
    ] = 30,
    trials: Annotated[
        int | None,
        typer.Option("--trials", help="Exactly so many fresh agent processes per variant.", min=1),
    ] = None,
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    image_size: ImageSizeOption = None,
    output: OutputOption = None,
    store: StoreOption = DEFAULT_STORE,
    format: Annotated[
        str, typer.Option("--format", help="table or json.", metavar="FORMAT")
    ] = "table",
) -> None:
    """Find the best variant that keeps the accuracy within a bound.

    Measures the recipes on the devices, and where integers lose too much, int8 with the operators
    in float that 'harness debug' names. Exit code 1 if no variant keeps the bound on some
    device, 3 if the budget ended before everything was tried.
    """
    import dataclasses
    import json

    import harness
    from harness.cli.shared import converted, progress
    from harness.cli.shared.interrupts import stop_on_signals
    from harness.cli.shared.output import width
    from harness.config import sources
    from harness.reports import search_table

    converted.check_format(format)
    with progress.listener() as tell, stop_on_signals() as stop:
        found = harness.search(
            model,
            data,
            calibration=calibration,
            training=train,
            max_accuracy_drop=max_accuracy_drop,
            minimize=minimize,
            devices=device or ["local"],
            recipes=recipe or (),
            budget_minutes=budget,
            trials=trials,
            preprocessing=sources.preprocessing(scale, mean, std),
            image_size=sources.image_size(image_size),
            output=output,
            store=store,
            tell=tell,
            stop=stop,
        )
    rows = dataclasses.asdict(found)
    if format == "json":
        print(json.dumps(rows, indent=1))
    else:
        print(search_table.render(rows, width()))
    if stop():
        raise typer.Exit(130)
    if not found.complete:
        raise typer.Exit(3)
    raise typer.Exit(0 if all(found.best.values()) else 1)
