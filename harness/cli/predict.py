"""``harness predict``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.shared.options import FormatOption


def predict(
    model: Annotated[
        str,
        typer.Argument(
            help="A .tflite file, or a published architecture: mobilenet_v2_1.0_224, "
            "efficientdet_lite0, ...",
            metavar="MODEL",
        ),
    ],
    device: Annotated[
        str,
        typer.Option("--device", "-d", help="A profile, or any device in words.", metavar="DEVICE"),
    ],
    backend: Annotated[
        str,
        typer.Option(
            "--backend",
            "-b",
            help="cpu x4, gpu, nnapi, npu, edgetpu; by default the device's Edge TPU, or cpu x4.",
            metavar="BACKEND",
        ),
    ] = "",
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype",
            help="Of an architecture: float32, int8 or uint8; by default int8 on an Edge TPU "
            "or a neural processor, float32 elsewhere.",
            metavar="TYPE",
        ),
    ] = "",
    input_size: Annotated[
        int | None,
        typer.Option("--input-size", help="Of an architecture: pixels, if not the published."),
    ] = None,
    runtime: Annotated[
        str,
        typer.Option(
            "--runtime",
            help="What executes, in words: 'TFLite 2.5, 32-bit OS'; TFLite without a release has "
            "the kernels of 2020. By default a present LiteRT.",
            metavar="TEXT",
        ),
    ] = "",
    operators: Annotated[
        bool, typer.Option("--operators", help="Every operator, not classes of them.")
    ] = False,
    format: FormatOption = "table",
) -> None:
    """Predict about how fast a model would be on a device that is not here.

    Gives the latency of one inference in milliseconds, with an interval that is meant to hold the
    truth nine times of ten, and what of it each operator takes. It is a prediction and never goes
    into a store: docs/predicting.md says how good it is, and how to calibrate it.
    """

    import harness
    from harness.cli.shared import output
    from harness.reports import predictions

    output.check_format(format, predictions.FORMS)
    found = harness.predict(
        model, device, backend, dtype=dtype, input_size=input_size, runtime=runtime
    )
    output.show_form(
        format,
        lambda form, width: predictions.prediction_text(found, form, width, operators=operators),
        lambda: predictions.prediction_parts(found, operators=operators),
    )
