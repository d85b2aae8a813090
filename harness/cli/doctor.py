"""``harness doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.devices.doctor import Check

_SIGNS = {"good": "✓", "warning": "!", "bad": "✗", "unknown": "?"}
_STYLES = {"good": "green", "warning": "yellow", "bad": "bold red", "unknown": "dim"}


def doctor(
    device: Annotated[
        list[str] | None,
        typer.Argument(help="Devices that have a profile; without any: this machine's set-up."),
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="table or json.", metavar="FORMAT")
    ] = "table",
) -> None:
    """Check devices, or this machine's set-up: what is wrong, and the fix.

    Exit code 1 if anything is wrong. A device is only looked at, but for the agent, which is
    pushed and started once.
    """
    from harness.cli import output

    output.check_format(format, ("table", "json"))
    if device:
        from harness.config.devices import find_device
        from harness.devices.doctor import examine
        from harness.transports import TRANSPORTS

        devices = [find_device(name, TRANSPORTS) for name in device]
        found = {item.name: list(examine(item)) for item in devices}
    else:
        from harness.orchestrate.set_up import examine_set_up

        found = {"this machine": list(examine_set_up())}
    if format == "json":
        _print_json(found)
    else:
        for name, checks in found.items():
            _print_table(name, checks)
    bad = any(check.mark == "bad" for checks in found.values() for check in checks)
    raise typer.Exit(1 if bad else 0)


def _print_json(found: dict[str, list[Check]]) -> None:
    import dataclasses
    import json

    rows = [
        {"device": name, **dataclasses.asdict(check)}
        for name, checks in found.items()
        for check in checks
    ]
    print(json.dumps(rows, indent=1, ensure_ascii=False))


def _print_table(name: str, checks: list[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    from harness.cli.output import console

    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(width=1)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        text = Text(check.found)
        if check.fix:
            text.append(f"\n→ {check.fix}", style="dim")
        style = _STYLES[check.mark.value]
        table.add_row(Text(_SIGNS[check.mark.value], style=style), check.name, text)
    console().print(Text(name, style="bold"))
    console().print(table)
