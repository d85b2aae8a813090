"""A comparison for a terminal: one line per cell, one column per measurement."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement as RichMeasurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.decide.compare import SIGNIFICANCE, Compared, Comparison
from harness.domain import Outcome, Verdict
from harness.reports import notes
from harness.reports.compare_rows import HEADINGS, change
from harness.reports.texts import plain_text

_STYLE = {
    Outcome.BETTER: "bold green",
    Outcome.WORSE: "bold red",
    Outcome.NO_DIFFERENCE: "dim",
    Outcome.CANNOT_TELL: "yellow",
}

_MARK = {
    Outcome.BETTER: "better",
    Outcome.WORSE: "WORSE",
    Outcome.NO_DIFFERENCE: "=",
    Outcome.CANNOT_TELL: "?",
}


def render(found: Comparison, width: int) -> str:
    """The comparison as plain text of at most ``width`` columns."""
    return plain_text([renderable(found)], width)


def renderable(found: Comparison) -> RenderableType:
    """The comparison for rich: one block per device, what could not be compared, a summary."""
    parts: list[RenderableType] = [
        Text.assemble(("base ", "dim"), (str(found.base), "bold"),
                      ("  head ", "dim"), (str(found.head), "bold")),
        Text("each change is head against base, ± half of its 95 % interval; "
             "=  no difference shown, ?  cannot tell", style="dim"),
    ]  # fmt: skip
    compared = sorted((item for item in found.cells if not item.refused), key=_heading)
    for heading, group in groupby(compared, key=_heading):
        parts.extend(_block(heading, list(group)))
    parts.extend(_reasons(found))
    parts.append(Text(f"\n{_summary(found)}"))
    return Group(*parts)


def _heading(item: Compared) -> tuple[str, str]:
    return item.cell.where, item.cell.any.job.kind.value


def _block(heading: tuple[str, str], group: list[Compared]) -> Iterator[RenderableType]:
    where, kind = heading
    note = notes.KIND_NOTES[group[0].cell.any.job.kind]
    yield Text.assemble("\n", (where, "bold"), f"  {kind}", (f": {note}", "dim"))
    metrics = [
        name
        for name in HEADINGS
        if any(name == verdict.metric for item in group for verdict in item.verdicts)
    ]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("", min_width=20, overflow="fold")
    for name in metrics:
        table.add_column(HEADINGS[name], justify="right", no_wrap=True, min_width=12)
    for item in group:
        by_name = {verdict.metric: verdict for verdict in item.verdicts}
        table.add_row(Text(_row(item)), *(_cell(by_name.get(name)) for name in metrics))
    yield _Fitting(table, _tall(group))


class _Fitting:
    """A table, or where the terminal is too narrow for it, the same one line per number."""

    def __init__(self, wide: Table, tall: Table) -> None:
        self._wide, self._tall = wide, tall

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        least = RichMeasurement.get(console, options.update(width=10_000), self._wide).minimum
        yield self._wide if least <= options.max_width else self._tall


def _tall(group: list[Compared]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    table.add_column("", overflow="fold")
    table.add_column("", no_wrap=True)
    table.add_column("change", justify="right", no_wrap=True)
    for item in group:
        name = _row(item)
        for verdict in item.verdicts:
            table.add_row(Text(name), HEADINGS[verdict.metric], _cell(verdict))
            name = ""
    return table


def _row(item: Compared) -> str:
    """What tells the row from others of its block: two recipes stand above all of them."""
    base, head = item.cell.base or item.cell.any, item.cell.head or item.cell.any
    job = head.job
    model = item.cell.model
    return model if base.job.recipe != job.recipe else f"{model}/{job.recipe}"


def _cell(verdict: Verdict | None) -> Text:
    if verdict is None:
        return Text("")
    return Text(f"{change(verdict)} {_MARK[verdict.outcome]}", style=_STYLE[verdict.outcome])


def _reasons(found: Comparison) -> Iterator[RenderableType]:
    """Why there is no verdict, each reason once with the cells it is of."""
    said: dict[str, list[str]] = {}
    for item in found.cells:
        if item.refused:
            said.setdefault(item.refused, []).append(item.cell.label)
        for verdict in item.verdicts:
            if verdict.reason:
                what = f"{HEADINGS[verdict.metric]}: {verdict.reason}"
                said.setdefault(what, []).append(item.cell.label)
    if said:
        yield Text("\nNotes", style="bold")
    for reason, labels in said.items():
        more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
        yield Padding(Text(f"{reason}: {', '.join(labels[:3])}{more}"), (0, 0, 0, 1))


def _summary(found: Comparison) -> str:
    counts = [f"{len(found.of(outcome))} {outcome.value}" for outcome in Outcome]
    apart = f", {len(found.uncompared)} cells not compared" if found.uncompared else ""
    corrected = (
        f"{found.tests} tests corrected together (Benjamini-Hochberg, {SIGNIFICANCE:g}); "
        if found.tests > 1
        else ""
    )
    return (
        f"{', '.join(counts)}{apart}\n{corrected}minimum effect on latency and memory "
        f"{found.min_effect * 100:g} %; size and delegation are exact"
    )
