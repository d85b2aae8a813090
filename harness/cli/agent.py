"""``harness agent``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    help="The program that runs models on a device.",
)  # fmt: skip


@app.callback()
def _group() -> None:
    """Keep ``build`` a command of its own: one command alone would swallow its name."""


@app.command("build")
def build(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The program to write.", metavar="FILE")
    ],
    target: Annotated[
        str | None,
        typer.Option("--target", help="linux-arm64, android-arm64, ... Default: this machine."),
    ] = None,
) -> None:
    """Build the native agent, for a device that you set up by hand.

    A device that names no agent_binary gets it built by itself.
    """
    import shutil

    from harness.cache import whole_file
    from harness.devices.agents.building import built
    from harness.devices.agents.targets import TARGETS, this_machine
    from harness.errors import UsageError, suggest

    chosen = TARGETS.get(target) if target else this_machine()
    if chosen is None:
        raise UsageError(
            f"unknown target {target or 'here'!r}", hint=suggest(target or "", TARGETS)
        )
    if not output.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {output.absolute().parent}")
    with whole_file(output.absolute()) as part:
        shutil.copyfile(built(chosen), part)
        part.chmod(0o755)
    print(output)
