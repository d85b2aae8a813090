"""``harness emulate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def emulate(
    target: Annotated[
        str, typer.Argument(help="linux-arm64 or android.", metavar="TARGET", show_default=False)
    ],
    command: Annotated[
        list[str] | None,
        typer.Argument(
            help="After --: run this while the target is up, and exit as it does.",
            metavar="-- COMMAND",
            show_default=False,
        ),
    ] = None,
    name: Annotated[
        str, typer.Option("--name", help="The device's name; default emulated-arm64 or -android.")
    ] = "",
    save: Annotated[
        bool,
        typer.Option("--save", help="Keep the profile with your own while the target is up."),
    ] = False,
    profile: Annotated[
        Path | None, typer.Option("--profile", help="Write the profile there.", metavar="FILE")
    ] = None,
    port: Annotated[
        int, typer.Option("--port", help="On loopback; 0 takes a free one.", min=0, max=65535)
    ] = 0,
    cpu: Annotated[
        str, typer.Option("--cpu", help="linux-arm64: QEMU's CPU; default cortex-a76.")
    ] = "",
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Only make what is made once and kept.")
    ] = False,
) -> None:
    """Start a device emulated on this machine; Ctrl-C ends it.

    The device's profile goes to stdout. Its records are of kind emulated: what it computes
    counts, how long it takes does not.
    """
    from harness.cli.shared import emulating
    from harness.emulation import EMULATORS, Preparable
    from harness.errors import UsageError, suggest

    if target not in EMULATORS:
        raise UsageError(f"unknown target {target!r}", hint=suggest(target, EMULATORS))
    emulator = EMULATORS[target]
    options: dict[str, object] = {}
    if port:
        options["port"] = port
    if cpu:
        options["cpu"] = cpu
    if prepare:
        if command or name or save or profile or port:
            raise UsageError(
                "--prepare starts nothing: no command, --name, --save, --profile or --port with it"
            )
        if not emulator.prepared:
            raise UsageError(f"nothing of {target} is made once and kept: there is no need")
        made = emulator.make(options)
        assert isinstance(made, Preparable)
        made.prepare(emulating.tell)
        return
    device = name or emulator.device
    emulating.check_name(device)
    places = emulating.places(device, save=save, profile=profile)
    raise typer.Exit(emulating.serve(emulator.make(options), device, places, command or []))
