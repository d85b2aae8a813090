"""``harness devices``."""

from __future__ import annotations

import typer

from harness.cli.clean import clean

app = typer.Typer(rich_markup_mode=None)
app.command("clean")(clean)


@app.callback(invoke_without_command=True)
def devices(context: typer.Context) -> None:
    """List the devices that have a profile; a suite may declare more."""
    if context.invoked_subcommand is not None:
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from harness.cli.output import console
    from harness.config.devices import known_devices
    from harness.transports import TRANSPORTS

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("device", "kind", "transport", "accelerators", "default", "title"):
        table.add_column(name)
    for device in known_devices(TRANSPORTS).values():
        table.add_row(
            Text(device.name),
            device.kind.value,
            device.transport,
            ", ".join(device.accelerators),
            str(device.default_backend),
            Text(device.title),
        )
    console().print(table)
