"""``harness calibrate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared.options import DEFAULT_STORE, StoreOption


def calibrate(
    table: Annotated[
        Path | None,
        typer.Argument(
            help="CSV of published latencies, as harness validate takes it.", metavar="[TABLE]"
        ),
    ] = None,
    from_run: Annotated[
        str | None,
        typer.Option("--from-run", help="Own measurements: a run's id, or 'last'.", metavar="RUN"),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", "-d", help="With --from-run: which of its devices."),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            "--like",
            help="With --from-run: the profile or board with the device's cores; by default its "
            "own profile.",
            metavar="NAME",
        ),
    ] = None,
    simulated: Annotated[
        bool,
        typer.Option(
            "--simulated",
            help="With --from-run: also take what a simulated device, or a rehearsal, gave.",
        ),
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write the profiles; without it a diff is printed.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Fit what harness predict predicts with, to published latencies or to your own.

    From a table: parameters of kernels and cores go to profiles/processors/fitted.toml, those of
    one device alone to its profile. Without chance: the same table gives the same files.

    From a run, with a handful of variants measured on one device: only that device's own factors,
    into a profile of that name among yours (~/.config/edge-harness/devices). The measurements may
    be of any models; a float and an int8 variant, on one thread and on all, say most.
    """
    import os
    import sys

    # One thread of linear algebra: the same bits on every machine, and its matrices are small.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import harness
    from harness.errors import UsageError

    if (table is None) == (from_run is None):
        raise UsageError("give either a table, or --from-run RUN --device DEVICE")

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    from harness.calibration import writing
    from harness.calibration.own import percent

    if table is not None:
        if device or like or simulated:
            raise UsageError("--device, --like and --simulated go with --from-run")
        found = harness.calibrate(table, tell=tell)
        files = writing.changed_files(found, table.name)
        models = len({case.architecture for case in found.cases})
        fitted, unseen = percent(found.fit.residuals), percent(found.unseen)
        tell(
            f"{len(found.cases)} rows of {models} models: median error {fitted:.1f} %, with each "
            f"model left out {unseen:.1f} %"
        )
        for text in writing.at_bounds(found):
            tell(f"at its bound: {text}")
        left = writing.left_behind(found)
        if left and write:
            raise UsageError(
                f"the table has no rows of {', '.join(left)}: their factors belong to what would "
                "be replaced",
                hint="add your rows to the table that they were fitted to, or calibrate one device "
                "from a run of your own: --from-run RUN --device DEVICE",
            )
    else:
        assert from_run is not None
        if device is None:
            raise UsageError("--from-run needs --device: whose measurements?")
        own = harness.calibrate_device(
            from_run, device, like=like, simulated=simulated, store=store
        )
        count = len(own.cases)
        tell(
            f"{count} measurement{'s' if count != 1 else ''} on {device}: median error "
            f"{percent(own.before):.1f} % before, {percent(own.after):.1f} % after"
        )
        files = writing.own_profile(own, like or device, from_run)
    if write:
        for path in writing.write(files):
            tell(f"wrote {path}")
    else:
        print(writing.difference(files), end="")
        tell("nothing is written without --write")
