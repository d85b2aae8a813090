"""``harness devices``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.clean import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from harness.devices.fleet import Entry
    from harness.domain import Device

app = typer.Typer(rich_markup_mode=None)
app.command("clean")(clean)

_STYLES = {
    "ready": "green",
    "poorly": "yellow",
    "busy": "yellow",
    "away": "red",
    "refused": "red",
    "modelled": "magenta",
    "wrong profile": "bold red",
}


@app.callback(invoke_without_command=True)
def devices(
    context: typer.Context,
    look: Annotated[
        bool,
        typer.Option("--look/--no-look", help="Connect to each for a moment, all at once."),
    ] = True,
    format: Annotated[
        str, typer.Option("--format", help="table or json.", metavar="FORMAT")
    ] = "table",
) -> None:
    """List the devices: how they are, and what they offer, the default first.

    What else is found follows, without a profile: devices of the running adb server, Coral
    accelerators of this machine, hosts of ~/.ssh/config. A suite may declare more devices.
    """
    from harness.cli.shared import output
    from harness.errors import UsageError

    if context.invoked_subcommand is not None:
        for name in ("look", "format"):
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                command = context.invoked_subcommand
                raise UsageError(f"--{name} is no option of harness devices {command}")
        return
    output.check_format(format, ("table", "json"))
    from harness.devices.fleet import configured, unconfigured

    entries = configured(look=look)
    found = unconfigured(entries)
    if format == "json":
        _print_json([*entries, *found])
    else:
        _print_table(entries, found)


def _print_json(entries: Sequence[Entry]) -> None:
    import json

    rows = [
        {
            "device": entry.name,
            "condition": entry.condition.value,
            "kind": entry.device.kind.value if entry.device else None,
            "transport": entry.device.transport if entry.device else None,
            "accelerators": list(entry.device.accelerators) if entry.device else [],
            "default_backend": str(entry.device.default_backend) if entry.device else None,
            "link": entry.link,
            "note": entry.note,
            "fix": entry.fix,
            "profile": entry.profile,
        }
        for entry in entries
    ]
    print(json.dumps(rows, indent=1, ensure_ascii=False))


def _print_table(entries: Sequence[Entry], found: Sequence[Entry]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from harness.cli.shared.output import console

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in ("device", "kind", "state"):
        table.add_column(name, no_wrap=True)
    table.add_column("offers", overflow="fold")
    table.add_column("", overflow="fold")
    for entry in entries:
        device, condition = entry.device, entry.condition.value
        table.add_row(
            Text(entry.name),
            _kind(device) if device else "",
            Text(condition, style=_STYLES.get(condition, "dim")),
            ", ".join(_offers(device)) if device else "",
            Text(device.title.removesuffix("(simulated)").rstrip() if device else ""),
        )
    screen = console()
    screen.print(table)
    ill = [entry for entry in entries if entry.note]
    if ill:
        screen.print()
    for entry in ill:
        screen.print(_said(entry))
    if found:
        screen.print(Text("\nWithout a profile", style="bold"))
        for entry in found:
            screen.print(_said(entry))
        screen.print(
            Text("A profile is a file ~/.config/edge-harness/devices/NAME.toml.", style="dim")
        )


def _kind(device: Device) -> str:
    """Its kind, and the link where that does not say the same."""
    kind, link = device.kind.value, device.transport
    return kind if link == kind else f"{kind}, {link}"


def _offers(device: Device) -> list[str]:
    """The backend that it takes where none is named, then its other accelerators."""
    default = device.default_backend
    others = [name for name in device.accelerators if name != default.accelerator]
    return [str(default), *others]


def _said(entry: Entry) -> Text:
    """What is said of one device, as wide as the screen, and what to do about it."""
    from rich.text import Text

    text = Text(f"{entry.name}: {entry.note}" if entry.note else entry.name)
    if entry.fix:
        text.append(f"\n→ {entry.fix}", style="dim")
    for line in entry.profile.splitlines():
        text.append(f"\n    {line}", style="dim")
    return text
