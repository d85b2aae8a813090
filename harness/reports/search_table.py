"""What a search tried and which variant it found, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.reports import numbers
from harness.reports.texts import plain_text

#: Letters of an error; the progress and the run's report have all of it.
_LONGEST = 180


def render(found: Mapping[str, Any], width: int) -> str:
    """A search (``orchestrate.search.Found``) as plain text of at most ``width`` columns."""
    return plain_text(_parts(found), width)


def _parts(found: Mapping[str, Any]) -> Iterator[RenderableType]:
    bound = f"{found['bound'] * 100:g} points of accuracy"
    yield Text(f"{found['model']}: the least {found['minimize']} within {bound}")
    for device, best in found["best"].items():
        of_device = [item for item in found["tried"] if item["device"] == device]
        kind = of_device[0]["kind"] if of_device else ""
        yield Text("")
        yield Text(f"{device} ({kind})" if kind else device)
        yield _table(found, of_device, best)
        for error, recipes in _errors(of_device).items():
            text = Text(f"{', '.join(recipes)}: {_short(error)}")
            yield Padding(text, (0, 0, 0, 5))
        elsewhere = found["references"].get(device, device)
        if elsewhere != device:
            yield Text(f"drop: against the float variant on {elsewhere}")
        yield Text(_conclusion(device, best, of_device))
    yield Text("")
    yield Text("* best   | on the frontier: no other is better in one and as good in both")
    yield Text("runs: " + (", ".join(found["runs"]) or "none"))
    if not found["complete"]:
        begun = [item["trials"] for item in found["tried"] if item["pending"]]
        of = f" ({sum(begun)} trials of {len(begun)} variants are kept)" if begun else ""
        yield Text(f"not complete{of}: the same command goes on where it stopped")


def _table(
    found: Mapping[str, Any], rows: list[Mapping[str, Any]], best: Mapping[str, Any] | None
) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("recipe", overflow="fold", min_width=12)
    for name in ("accuracy", "drop", found["minimize"], "size"):
        table.add_column(name, justify="right", no_wrap=True)
    for item in sorted(rows, key=lambda row: (row["value"] is None, row["value"] or 0)):
        mark = "*" if best and item["recipe"] == best["recipe"] else ""
        if item["error"]:
            continue
        unit = "trial" if item["trials"] == 1 else "trials"
        table.add_row(
            mark + ("|" if item["frontier"] else ""),
            Text(item["recipe"]),
            numbers.percent(item["accuracy"]),
            "" if item["drop"] is None else f"{item['drop'] * 100:+.2f}",
            f"{item['trials']} {unit}" if item["pending"] else _value(item),
            "" if item["size_bytes"] is None else numbers.size(item["size_bytes"]),
        )
    return table


def _errors(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Why there are no numbers, and of which recipes."""
    found: dict[str, list[str]] = {}
    for item in rows:
        if item["error"]:
            found.setdefault(item["error"], []).append(item["recipe"])
    return found


def _value(item: Mapping[str, Any]) -> str:
    if item["value"] is None:
        return ""
    if item["unit"] == "bytes":
        return numbers.size(int(item["value"]))
    return f"{numbers.significant(item['value'])} {item['unit']}"


def _conclusion(device: str, best: Mapping[str, Any] | None, rows: list[Mapping[str, Any]]) -> str:
    pending = any(item["pending"] for item in rows)
    if best is not None:
        return f"take {best['recipe']}" + (", of those that are done" if pending else "")
    if pending:
        return "nothing can be taken yet"
    measured = [item for item in rows if item["drop"] is not None]
    if not measured:
        return f"nothing was measured on {device}"
    closest = min(measured, key=lambda item: item["drop"])
    return (
        f"none keeps the bound; the closest is {closest['recipe']} with "
        f"{closest['drop'] * 100:.2f} points"
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."
