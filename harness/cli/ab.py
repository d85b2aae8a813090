"""``harness ab``."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.shared.options import DEFAULT_STORE, FormatOption, StoreOption
from harness.cli.shared.sources import (
    CalibrationOption,
    ImageSizeOption,
    MeanOption,
    ScaleOption,
    StdOption,
    TrainOption,
)


def ab(
    model_a: Annotated[
        str,
        typer.Argument(
            help="A .tflite file, or whatever else a suite's model may be.", metavar="MODEL_A"
        ),
    ],
    model_b: Annotated[
        str | None,
        typer.Argument(help="What it is compared with; default: MODEL_A.", metavar="MODEL_B"),
    ] = None,
    device: Annotated[
        str, typer.Option("--device", "-d", help="A device with a profile.", metavar="DEVICE")
    ] = "local",
    device_b: Annotated[
        str | None,
        typer.Option(
            "--device-b",
            help="B by another profile of the same board: another runtime, Python or agent.",
            metavar="DEVICE",
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option("--backend", help="Such as 'cpu x4'; default: the device's."),
    ] = None,
    backend_b: Annotated[
        str | None, typer.Option("--backend-b", help="B's, where it is another one.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", "-r", help="Of both; default: a .tflite as it is, float32 of others."
        ),
    ] = None,
    recipe_a: Annotated[str | None, typer.Option("--recipe-a", help="A's alone.")] = None,
    recipe_b: Annotated[str | None, typer.Option("--recipe-b", help="B's alone.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="Samples to feed: an .npz, a folder, or 'digits'. For a .tflite some that fit "
            "are made up.",
            metavar="DATASET",
        ),
    ] = None,
    calibration: CalibrationOption = None,
    train: TrainOption = None,
    scale: ScaleOption = None,
    mean: MeanOption = None,
    std: StdOption = None,
    image_size: ImageSizeOption = None,
    min_effect: Annotated[
        float,
        typer.Option(
            "--min-effect", help="Smaller differences do not matter, percent.", metavar="PERCENT"
        ),
    ] = 2.0,
    max_rounds: Annotated[
        int, typer.Option("--max-rounds", help="Rounds at most.", metavar="N")
    ] = 100,
    max_minutes: Annotated[
        float,
        typer.Option(
            "--max-minutes",
            help="No round is begun that would likely end later.",
            metavar="MINUTES",
        ),
    ] = 10.0,
    trial_seconds: Annotated[
        float | None,
        typer.Option(
            "--trial-seconds",
            help="How long a trial measures after its warm-up; default 1.",
            metavar="SECONDS",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Of the order in each round.", min=0, metavar="N")
    ] = 0,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = "table",
) -> None:
    """Which one is faster? Two variants or two runtimes in turns, until the answer is clear.

    Each round is one trial (a fresh agent process) of A and one of B, in an order drawn anew, so
    that what drifts does so for both. After each round an interval of the ratio B/A is looked
    at that holds however often one looks. It ends as soon as B differs by at least --min-effect
    and not by chance, or no difference that matters is left; else at --max-rounds or
    --max-minutes with "cannot tell yet".

    \b
    Two files:      harness ab old.tflite new.tflite --device pi
    Threads:        harness ab model.tflite --device pi --backend 'cpu x1' --backend-b 'cpu x4'
    Two recipes:    harness ab model.h5 --recipe-a float32 --recipe-b int8 --data test.npz \\
                    --calibration train.npz
    Two runtimes:   harness ab model.tflite --device pi --device-b pi-native

    The run is kept as any other: harness table, harness report. Ctrl-C says what is known so far.

    Exit code 0 whether or not there is an answer (it is information, no gate), 3 if a trial
    failed for good, 130 if interrupted.
    """
    import sys

    import harness
    from harness.cli.shared import ab_progress, output
    from harness.cli.shared.interrupts import stop_on_signals
    from harness.config import sources
    from harness.domain import Policy
    from harness.errors import UsageError
    from harness.reports.ab_rows import FORMS
    from harness.reports.ab_text import renderable

    output.check_format(format, FORMS)
    seconds = Policy().min_seconds if trial_seconds is None else trial_seconds
    try:
        policy = Policy(
            seed=seed,
            min_seconds=seconds,
            warmup_seconds=max(0.0, min(Policy().warmup_seconds, seconds)),
        )
    except ValueError as error:
        raise UsageError(f"--trial-seconds: {error}") from None
    with ab_progress.listener() as tell, stop_on_signals() as stop:
        found = harness.ab(
            model_a,
            model_b,
            device=device,
            device_b=device_b,
            backend=backend,
            backend_b=backend_b,
            recipe=recipe,
            recipe_a=recipe_a,
            recipe_b=recipe_b,
            data=data,
            calibration=calibration,
            training=train,
            preprocessing=sources.preprocessing(scale, mean, std),
            image_size=sources.image_size(image_size),
            min_effect=min_effect / 100,
            max_rounds=max_rounds,
            max_minutes=max_minutes,
            policy=policy,
            store=store,
            tell=tell,
            stop=stop,
        )
    output.show_form(format, found.text, lambda: [renderable(found.contest)])
    if found.contest.failure:
        print(f"error: {found.contest.failure}", file=sys.stderr)
    raise typer.Exit(found.contest.exit_code)
