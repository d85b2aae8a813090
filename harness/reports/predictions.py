"""Predictions and what tables say of them, for a terminal and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.calibration.judging import Error, Judged
from harness.calibration.validation import NN_METER, Validation
from harness.errors import UsageError
from harness.reports.escapes import escape, plain
from harness.reports.texts import csv_text, plain_text
from harness.simulation.prediction import Prediction

FORMS = ("table", "json", "csv", "markdown")

_OPERATORS = ("index", "name", "class", "place", "macs", "latency_ms")


def prediction_text(
    found: Prediction, format: str, width: int = 100, *, operators: bool = False
) -> str:
    """A prediction as ``table``, ``json``, ``csv`` or ``markdown``; raises ``UsageError``."""
    _known(format)
    if format == "json":
        return json.dumps(found.as_dict(), indent=1, allow_nan=False)
    if format == "csv":
        return csv_text(_OPERATORS, found.as_dict()["operators"])
    parts = list(prediction_parts(found, operators=operators))
    if format == "markdown":
        return _markdown_prediction(found)
    return plain_text(parts, width)


def prediction_parts(found: Prediction, *, operators: bool = False) -> Iterator[RenderableType]:
    """A prediction for rich: the latency, then where it goes by class or by operator."""
    yield Text.assemble(
        (f"{_ms(found.latency_ms)} ms", "bold"),
        f"  {_ms(found.low_ms)} to {_ms(found.high_ms)} (predicted, with its 90 % interval)",
    )
    if not found.calibrated:
        yield Text(
            "put together from its cores: no latency of this device has been seen", style="dim"
        )
    yield Text(
        plain("; ".join(filter(None, (found.model, f"{found.device}, {found.backend}")))),
        style="dim",
    )
    table = _table(("", False), ("where", False), ("count", True), ("MMAC", True),
                   ("ms", True), ("share", True))  # fmt: skip
    if operators:
        table = _table(("operator", False), ("class", False), ("where", False),
                       ("MMAC", True), ("ms", True), ("share", True))  # fmt: skip
        for each in found.operators:
            table.add_row(
                plain(f"{each.index} {each.name}"), each.kind, each.place, f"{each.macs / 1e6:.2f}",
                f"{each.ms:.3f}", _share(each.ms, found),
            )  # fmt: skip
    else:
        for (kind, place), members in _classes(found).items():
            total = sum(each.ms for each in members)
            macs = sum(each.macs for each in members) / 1e6
            table.add_row(
                kind, place, str(len(members)), f"{macs:.1f}", f"{total:.3f}", _share(total, found)
            )
    last = "calls, transfers, parameters"
    table.add_row(last, "", "", "", f"{found.overhead_ms:.3f}", _share(found.overhead_ms, found))
    yield table


def _classes(found: Prediction) -> dict[tuple[str, str], list[Any]]:
    groups: dict[tuple[str, str], list[Any]] = {}
    for each in found.operators:
        groups.setdefault((each.kind, each.place), []).append(each)
    ordered = sorted(groups.items(), key=lambda item: -sum(each.ms for each in item[1]))
    return dict(ordered)


def _markdown_prediction(found: Prediction) -> str:
    lines = [
        f"{_ms(found.latency_ms)} ms ({_ms(found.low_ms)} to {_ms(found.high_ms)}) on "
        f"{found.device}, {found.backend}, predicted"
        + (f": {escape(found.model)}" if found.model else ""),
        "",
        "| class | where | count | ms | share |",
        "|---|---|--:|--:|--:|",
    ]
    for (kind, place), members in _classes(found).items():
        total = sum(each.ms for each in members)
        lines.append(
            f"| {kind} | {place} | {len(members)} | {total:.3f} | {_share(total, found)} |"
        )
    lines.append(f"| overhead | | | {found.overhead_ms:.3f} | {_share(found.overhead_ms, found)} |")
    return "\n".join(lines)


def validation_text(found: Validation, format: str, width: int = 100, *, rows: bool = False) -> str:
    """What a table says, as ``table``, ``json``, ``csv`` or ``markdown``; raises ``UsageError``."""
    _known(format)
    if format == "json":
        return json.dumps(found.as_dict(), indent=1, allow_nan=False)
    if format == "csv":
        listed = [row.as_row() for row in found.rows]
        return csv_text(tuple(listed[0]) if listed else (), listed)
    if format == "markdown":
        return _markdown(found, rows=rows)
    return plain_text(list(validation_parts(found, rows=rows)), width)


def validation_parts(found: Validation, *, rows: bool = False) -> Iterator[RenderableType]:
    """For rich: what was predicted how well; with ``rows`` every row too."""
    count = len(found.predicted)
    how = f", each by a fit without its {found.unseen}" if found.unseen else ""
    yield Text(f"{count} of {len(found.rows)} rows predicted{how}", style="bold")
    if rows:
        yield _rows(found.rows)
    for row in found.rows:
        if row.status != "ok":
            where = f"line {row.case.published.number}"
            yield Text(plain(f"  {where}, {row.case.published.model[:40]}: {row.status}"))
    if not count:
        return
    errors = found.errors()
    for title, name in (("family of devices", "family"), ("device", "device_and_backend"),
                        ("model", "model")):  # fmt: skip
        yield Text("")
        yield _errors(title, errors[name])
    yield Text("")
    yield _compared(found)


def _errors(title: str, errors: Sequence[Error]) -> Table:
    table = _table((title, False), ("rows", True), ("median error", True),
                   ("within x1.5", True), ("in interval", True))  # fmt: skip
    for error in errors:
        table.add_row(*_cells(error))
    return table


def _cells(error: Error) -> tuple[str, ...]:
    held = "" if error.coverage is None else f"{100 * error.coverage:.0f} %"
    return (
        plain(error.group), str(error.rows), f"{error.median_percent:.1f} %",
        f"{100 * error.within:.0f} %", held,
    )  # fmt: skip


def _compared(found: Validation) -> Table:
    table = _table(("all rows", False), ("rows", True), ("median error", True),
                   ("within x1.5", True), ("in interval", True), ("within 10 %", True))  # fmt: skip
    overall, near = found.overall, found.within_ten_percent()
    if overall is not None:
        cells = ("this predictor", *_cells(overall)[1:])
        table.add_row(*cells, "" if near is None else f"{100 * near:.0f} %")
    for error in found.baselines():
        table.add_row(*_cells(error), "")
    for name, share in NN_METER:
        table.add_row(f"{name}: quoted", "", "", "", "", f"{100 * share:.1f} %")
    return table


def _rows(rows: Sequence[Judged]) -> Table:
    table = _table(("model", False), ("device", False), ("backend", False), ("published", True),
                   ("predicted", True), ("low", True), ("high", True))  # fmt: skip
    for row in rows:
        table.add_row(plain(row.case.published.model[:32]), plain(row.device[:24]), *_numbers(row))
    return table


def _numbers(row: Judged) -> tuple[str, ...]:
    """Backend, published, predicted, low, high; what a row that cannot be predicted lacks is -."""
    setting = row.case.setting
    backend = str(setting.backend) if setting else plain(row.case.published.backend)
    values = (row.case.published.published_ms, row.predicted_ms, row.low_ms, row.high_ms)
    return (backend, *(_ms(value) or "-" for value in values))


def _markdown(found: Validation, *, rows: bool) -> str:
    lines: list[str] = []
    if rows:
        lines += [
            "| model | device | backend | published ms | predicted ms | low | high | status |",
            "|---|---|---|--:|--:|--:|--:|---|",
        ]
        for row in found.rows:
            cells = (row.case.published.model, row.device, *_numbers(row), row.status)
            lines.append("| " + " | ".join(map(escape, cells)) + " |")
        lines.append("")
    errors = found.errors()
    for title, name in (("family of devices", "family"), ("device", "device_and_backend"),
                        ("model", "model")):  # fmt: skip
        lines += [
            f"| {title} | rows | median error | within a factor 1.5 | in the interval |",
            "|---|--:|--:|--:|--:|",
            *("| " + " | ".join(map(escape, _cells(error))) + " |" for error in errors[name]),
            "",
        ]
    lines += [
        "| all rows | rows | median error | within a factor 1.5 | in the interval | within 10 % |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    overall, near = found.overall, found.within_ten_percent()
    if overall is not None and near is not None:
        lines.append(
            "| " + " | ".join(("this predictor", *_cells(overall)[1:])) + f" | {100 * near:.0f} % |"
        )
    lines += ["| " + " | ".join(_cells(error)) + " | |" for error in found.baselines()]
    lines += [f"| {name}: quoted | | | | | {100 * share:.1f} % |" for name, share in NN_METER]
    return "\n".join(lines)


def _known(format: str) -> None:
    if format not in FORMS:
        raise UsageError(f"unknown format {format!r}", hint="known: " + ", ".join(FORMS))


def _table(*columns: tuple[str, bool]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name, right in columns:
        table.add_column(name, justify="right" if right else "left", no_wrap=right)
    return table


def _share(ms: float, found: Prediction) -> str:
    return f"{100 * ms / found.latency_ms:.1f} %" if found.latency_ms else ""


def _ms(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
