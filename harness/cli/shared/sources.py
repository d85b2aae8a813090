"""Options that say which model and which samples; shared by convert, debug and search."""

from __future__ import annotations

from typing import Annotated

import typer

ModelArgument = Annotated[
    str,
    typer.Argument(
        help="A Keras .h5 or .keras, a SavedModel folder, a .tflite, keras:ARCHITECTURE "
        "(as in 'keras:MobileNetV2?weights=none&alpha=0.5'), package.module:function, or "
        "builtin:NAME.",
        metavar="MODEL",
    ),
]

CalibrationOption = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        help="Samples that set the ranges of integer recipes: an .npz, a folder of images in "
        "one subfolder per class, or 'digits'.",
        metavar="DATASET",
    ),
]

TrainOption = Annotated[
    str | None,
    typer.Option(
        "--train",
        help="Labelled samples for recipes that train; also calibrates without --calibration.",
        metavar="DATASET",
    ),
]

DataOption = Annotated[
    str,
    typer.Option(
        "--data", help="Labelled samples to evaluate on: an .npz, a folder, or 'digits'.",
        metavar="DATASET",
    ),
]  # fmt: skip

ScaleOption = Annotated[
    float | None,
    typer.Option("--scale", help="Preprocessing: (sample * scale - mean) / std; default 1, 0, 1."),
]
MeanOption = Annotated[
    str | None,
    typer.Option("--mean", help="One value, or one per channel: 0.485,0.456,0.406."),
]
StdOption = Annotated[str | None, typer.Option("--std", help="One value, or one per channel.")]
OutputOption = Annotated[
    int | None,
    typer.Option(
        "--output", help="Which output to judge by, where there are several; counts from 0.", min=0,
        metavar="N",
    ),
]  # fmt: skip
LabelsOption = Annotated[
    str | None,
    typer.Option("--labels", help="Class names, one per line, for the file's metadata."),
]
ImageSizeOption = Annotated[
    str | None,
    typer.Option("--image-size", help="HEIGHTxWIDTH that images of a folder are resized to."),
]
