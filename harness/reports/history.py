"""A history for a terminal and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.decide.history import Change, Point, Series
from harness.reports import numbers
from harness.reports.escapes import escape, plain
from harness.reports.texts import csv_text, markdown_table
from harness.stats.changes import LEAST_VALUES

COLUMNS = (
    "suite", "model", "recipe", "device", "kind", "backend", "canary", "metric", "unit", "date",
    "run", "value", "low", "high", "segment", "change", "change_p", "confirmed", "causes",
    "evidence", "variant_sha256",
)  # fmt: skip


def rows(series: Sequence[Series]) -> list[dict[str, Any]]:
    """One dictionary per point, see ``COLUMNS``; a change stands with the first point after it.

    ``change`` is a share of the median before; ``change_p`` is empty for what is exact.
    """
    return [_row(item, index) for item in series for index in range(len(item.points))]


def _row(series: Series, index: int) -> dict[str, Any]:
    key, point = series.key, series.points[index]
    change = _change_at(series, index)
    causes = change.causes if change else ()
    values = (
        key.suite, key.model, key.recipe, key.device, key.kind, key.backend, series.canary,
        series.metric, series.unit, point.created, point.run, point.value, point.low, point.high,
        series.segment(index),
        change.effect if change else None,
        change.p if change else None,
        change.confirmed if change else None,
        [cause.kind.value for cause in causes],
        "; ".join(cause.evidence for cause in causes),
        point.under.variant,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def _change_at(series: Series, index: int) -> Change | None:
    return next((change for change in series.changes if change.at == index), None)


def parts(series: Sequence[Series]) -> Iterator[RenderableType]:
    """The series for rich: a heading, the points with the changes between them, and what came."""
    for item in series:
        yield Text.assemble(
            (plain(item.key.label), "bold"),
            f"  {item.key.kind}{', canary' if item.canary else ''}; suite {plain(item.key.suite)}: "
            f"{title(item)}",
        )
        yield _points(item)
        yield Text(conclusion(item) + "\n", style="dim")
    yield Text(summary(series))


def title(series: Series) -> str:
    """What the values are."""
    if series.metric == "accuracy":
        return f"accuracy, {'%' if series.unit in ('share', 'area') else series.unit}"
    if series.metric in ("size", "memory"):
        return f"{series.metric}, kB or MB"
    return f"{series.metric}, median {series.unit}"


def _points(series: Series) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("date (UTC)", no_wrap=True)
    table.add_column("run", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95 %", justify="right", no_wrap=True)
    table.add_column("level", justify="right", no_wrap=True)
    table.add_column("", overflow="fold", ratio=1)
    for index, point in enumerate(series.points):
        change = _change_at(series, index)
        table.add_row(
            date(point),
            Text(plain(point.run)),
            value(series, point.value),
            interval(series, point),
            str(series.segment(index)),
            _words(change) if change else "",
        )
    return table


def _words(change: Change) -> Text:
    if not change.confirmed:
        return Text(f"? {effect(change)}: cannot tell yet ({_p(change)})", style="yellow")
    text = Text.assemble((f"< {effect(change)}", "bold"), f" ({_p(change)})" if _p(change) else "")
    for cause in change.causes:
        text.append(f"\n{cause.kind.value}: ", style="bold")
        text.append(plain(cause.evidence))
    return text


def effect(change: Change) -> str:
    """By how much, as a share of the level before."""
    found = change.effect
    return "from 0" if found is None else f"{found * 100:+.1f} %"


def _p(change: Change) -> str:
    if change.p is None:
        return ""
    return "p < 0.001" if change.p < 0.001 else f"p = {change.p:.2g}"


def date(point: Point) -> str:
    """When the run began."""
    return point.created[:16].replace("T", " ")


def value(series: Series, number: float) -> str:
    """A value of a series as people read it."""
    if series.metric in ("size", "memory"):
        return numbers.size(number)
    if series.unit in ("share", "area"):
        return f"{number * 100:.2f}"
    return numbers.significant(number, 4)


def interval(series: Series, point: Point) -> str:
    """Half of its width: in per cent of the value, of a share in points."""
    if point.low is None or point.high is None:
        return "-" if series.metric in ("size", "memory") else "±?"
    half = (point.high - point.low) / 2
    if series.unit in ("share", "area"):
        return f"±{half * 100:.1f}"
    return f"±{half / abs(point.value) * 100:.2g}%" if point.value else "±?"


def conclusion(series: Series) -> str:
    """What a series came to, in one line."""
    count = len(series.points)
    runs = f"{count} run{'' if count == 1 else 's'}"
    lost = f", {series.missing} without this number" if series.missing else ""
    if not series.enough:
        return f"{runs}{lost}: too few to tell a change ({LEAST_VALUES} at least)"
    sure = sum(change.confirmed for change in series.changes)
    open_ = len(series.changes) - sure
    told = _counted(sure, "change") if sure else "no change shown"
    more = f", {open_} that more runs must confirm" if open_ else ""
    return f"{runs}{lost}: {told}{more}"


def summary(series: Sequence[Series]) -> str:
    """What all series came to, and how that was decided."""
    sure = sum(change.confirmed for item in series for change in item.changes)
    told = f"{_counted(sure, 'change')} in {len(series)} series"
    if series[0].metric == "size":
        return f"{told}; sizes are exact"
    return (
        f"{told}: found by least squares, confirmed by permutation over runs, corrected over all "
        "(Benjamini-Hochberg, 5 %)"
    )


def _counted(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def as_json(series: Sequence[Series]) -> str:
    """The rows as a JSON array of objects."""
    return json.dumps(rows(series), indent=1, allow_nan=False)


def as_csv(series: Sequence[Series]) -> str:
    """The rows, RFC 4180; causes separated by semicolons."""
    return csv_text(COLUMNS, ({**row, "causes": "; ".join(row["causes"])} for row in rows(series)))


def as_markdown(series: Sequence[Series]) -> str:
    """GitHub-flavoured: a table per series."""
    lines: list[str] = []
    right = ("value", "95 %", "level")
    for item in series:
        canary = ", canary" if item.canary else ""
        heading = f"{item.key.label}, {item.key.kind}{canary}: {title(item)}"
        lines += [f"### {escape(heading)}", "", f"{escape(conclusion(item))}.", ""]
        made = []
        for index, point in enumerate(item.points):
            change = _change_at(item, index)
            words = " ".join(_words(change).plain.split("\n")) if change else ""
            found = value(item, point.value), interval(item, point), str(item.segment(index))
            made.append((date(point), point.run, *found, words))
        lines += [*markdown_table(("date (UTC)", "run", *right, ""), right, made), ""]
    return "\n".join([*lines, escape(summary(series))])


FORMS = {"json": as_json, "csv": as_csv, "markdown": as_markdown}
