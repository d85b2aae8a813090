"""``harness doctor``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from harness.domain import Check, Device

    #: Looks at one device; the checks come as they end.
    Examine = Callable[[Device], Iterator[Check]]

_SIGNS = {"good": "✓", "warning": "!", "bad": "✗", "unknown": "?"}
_STYLES = {"good": "green", "warning": "yellow", "bad": "bold red", "unknown": "dim"}


def doctor(
    device: Annotated[
        list[str] | None,
        typer.Argument(help="Devices; without any: this machine's set-up."),
    ] = None,
    acceptance: Annotated[
        bool,
        typer.Option(
            "--acceptance",
            help="Also push, cut and resume 64 MB, take a lease, set the governor, and run small "
            "networks with each agent: what only the device itself can show. Some minutes.",
        ),
    ] = False,
    suite: Annotated[
        str | None, typer.Option("--suite", help="Take the devices from this suite's tables.")
    ] = None,
    format: Annotated[
        str, typer.Option("--format", help="table or json.", metavar="FORMAT")
    ] = "table",
) -> None:
    """Say what is wrong with devices or this machine.

    Exit code 1 if anything is wrong. A device is only looked at, but for the agent, which is
    pushed and started once.
    """
    from harness.cli.shared import output
    from harness.errors import UsageError

    output.check_format(format, ("table", "json"))
    names = device or []
    for given, option in ((acceptance, "--acceptance"), (suite, "--suite")):
        if given and not names:
            raise UsageError(f"{option} needs a device", hint="harness devices lists them")
    found: dict[str, list[Check]] = {}
    with _examining(acceptance) as (examine, stopped):
        for name, checks in _examinations(names, suite, examine):
            found[name] = _collect(name, checks, shown=format == "table")
            if stopped():
                break
    if format == "json":
        _print_json(found)
    bad = any(check.mark == "bad" for checks in found.values() for check in checks)
    raise typer.Exit(130 if stopped() else 1 if bad else 0)


@contextmanager
def _examining(acceptance: bool) -> Iterator[tuple[Examine, Callable[[], bool]]]:
    """What looks at one device, and whether that was interrupted."""
    if not acceptance:
        from harness.devices.doctor import examine

        yield examine, lambda: False
        return
    from harness.cli.shared import progress
    from harness.cli.shared.interrupts import stop_on_signals
    from harness.orchestrate.acceptance import accept

    with progress.listener() as tell, stop_on_signals("stopping after this step") as stop:
        yield lambda device: accept(device, tell, stop), stop


def _examinations(
    names: list[str], suite: str | None, examine: Examine
) -> Iterator[tuple[str, Iterator[Check]]]:
    if not names:
        from harness.orchestrate.set_up import examine_set_up

        yield "this machine", examine_set_up()
        return
    from harness.cli.shared.named import named_devices

    for device in named_devices(names, suite):
        yield device.name, examine(device)


def _collect(name: str, checks: Iterator[Check], *, shown: bool) -> list[Check]:
    """All checks; with ``shown`` each is printed as it ends."""
    from rich.text import Text

    from harness.cli.shared.output import console

    screen = console()
    if shown:
        screen.print(Text(name, style="bold"))
    found = []
    for check in checks:
        found.append(check)
        if shown:
            screen.print(_line(check))
    return found


def _line(check: Check) -> Table:
    from rich.table import Table
    from rich.text import Text

    line = Table(box=None, show_header=False, padding=(0, 1, 0, 0), pad_edge=False)
    line.add_column(width=1)
    line.add_column(width=24, overflow="fold")
    line.add_column(overflow="fold")
    text = Text(check.found)
    if check.fix:
        text.append(f"\n→ {check.fix}", style="dim")
    mark = check.mark.value
    line.add_row(Text(_SIGNS[mark], style=_STYLES[mark]), Text(check.name), text)
    return line


def _print_json(found: dict[str, list[Check]]) -> None:
    import dataclasses
    import json

    rows = [
        {"device": name, **dataclasses.asdict(check)}
        for name, checks in found.items()
        for check in checks
    ]
    print(json.dumps(rows, indent=1, ensure_ascii=False))
