"""``harness convert``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.sources import (
    CalibrationOption,
    ImageSizeOption,
    LabelsOption,
    MeanOption,
    ModelArgument,
    ScaleOption,
    StdOption,
    TrainOption,
)


def convert(
    model: ModelArgument,
    recipe: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe",
            "-r",
            help="A recipe, with parameters if you like: 'int8(calibration=100)'; may be "
            "repeated. 'all': every one that applies. Default: float32.",
        ),
    ] = None,
    calibration: CalibrationOption = None,
    train: TrainOption = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The folder for the files.", metavar="DIR")
    ] = Path(),
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    labels: LabelsOption = None,
    image_size: ImageSizeOption = None,
    task: Annotated[
        str,
        typer.Option(
            "--task",
            help="What trainings aim at: classification, segmentation, regression, or "
            "reconstruction for autoencoders.",
        ),
    ] = "classification",
    tensorboard: Annotated[
        Path | None,
        typer.Option("--tensorboard", help="A folder for the logs of trainings.", metavar="DIR"),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="table or json.", metavar="FORMAT")
    ] = "table",
    timeout: Annotated[
        float, typer.Option("--timeout", help="Seconds without a sign of life.", min=1)
    ] = 900,
    memory_limit: Annotated[
        float,
        typer.Option("--memory-limit", help="GB per conversion; 0: most of the machine.", min=0),
    ] = 0,
) -> None:
    """Convert a model into .tflite files, without a suite.

    Writes MODEL_RECIPE.tflite and its manifest MODEL_RECIPE.json for every recipe. What was made
    before comes from the cache. Exit code 3 if a conversion failed.
    """
    import harness
    from harness.cli.shared import converted
    from harness.cli.shared.interrupts import stop_on_signals
    from harness.config import sources

    converted.check_format(format)
    listener = converted.Listener()
    with stop_on_signals("giving up what is being made") as stop:
        found = harness.convert(
            model,
            recipe or ["float32"],
            out,
            calibration=calibration,
            training=train,
            preprocessing=sources.preprocessing(scale, mean, std),
            labels=labels,
            task=task,
            image_size=sources.image_size(image_size),
            done=listener.done,
            progress=listener.progress,
            stopped=stop,
            timeout=timeout,
            memory_limit_gb=memory_limit,
            tensorboard=tensorboard,
        )
    converted.show(found, format)
    if stop():
        raise typer.Exit(130)
    raise typer.Exit(3 if any(item.status == "failed" for item in found) else 0)
