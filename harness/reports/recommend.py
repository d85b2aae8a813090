"""Recommendations for a terminal and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from harness.decide.recommend import Choice, Option, amount
from harness.domain import JobStatus
from harness.reports import numbers
from harness.reports.escapes import escape, plain
from harness.reports.texts import csv_text, markdown_table

COLUMNS = (
    "run", "model", "device", "kind", "recipe", "backend", "best", "frontier", "within",
    "accuracy", "accuracy_drop", "latency_median_ms", "size_bytes", "memory_peak_bytes", "why",
    "variant_sha256",
)  # fmt: skip

_UNITS = {"max_latency_ms": "ms", "max_accuracy_drop": "points"}

_BOUNDS = {
    "max_latency_ms": "latency at most",
    "max_size": "size at most",
    "max_memory": "memory at most",
    "max_accuracy_drop": "accuracy lower by at most",
}

#: The headings of ``_cells``.
_NUMBERS = ("accuracy", "drop", "median ms", "size", "memory")

#: The longest reason that stands in full.
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Recommended:
    """What to take from a run: a choice for every model and device."""

    run: str
    goal: str
    bounds: Mapping[str, float]
    choices: tuple[Choice, ...]

    @property
    def pending(self) -> int:
        """How many jobs of the run are not done, so that the choices may still change."""
        return sum(
            item.record.status is JobStatus.PENDING
            for choice in self.choices
            for item in choice.options
        )

    @property
    def complete(self) -> bool:
        """Whether the run is done, with something to take for every model on every device."""
        found = bool(self.choices) and all(choice.best is not None for choice in self.choices)
        return found and not self.pending

    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per option; see ``COLUMNS``."""
        return [
            _row(self.run, choice, option) for choice in self.choices for option in choice.options
        ]


def _row(run: str, choice: Choice, option: Option) -> dict[str, Any]:
    job = option.record.job
    values = (
        run, choice.model, choice.device, choice.kind, job.recipe, str(job.backend),
        option is choice.best, option.frontier, not option.outside,
        option.accuracy.value if option.accuracy else None, option.drop, option.latency,
        option.size, option.memory, "; ".join((*option.outside, *option.lost)),
        option.record.variant_sha256,
    )  # fmt: skip
    return dict(zip(COLUMNS, values, strict=True))


def wanted(found: Recommended) -> str:
    """What was asked for, in words."""
    bounds = []
    for name, value in found.bounds.items():
        unit = _UNITS.get(name, "bytes")
        unit = "point" if (unit, value) == ("points", 1) else unit
        bounds.append(f"{_BOUNDS[name]} {amount(value, unit)}")
    return f"the least {found.goal}" + (f"; {', '.join(bounds)}" if bounds else "; no bounds")


def unfinished(found: Recommended) -> str:
    """That the run is not done, and what to do; empty where it is."""
    if not found.pending:
        return ""
    jobs = "1 job is" if found.pending == 1 else f"{found.pending} jobs are"
    return f"not the last word: {jobs} not done yet; go on with: harness run --resume {found.run}"


def parts(found: Recommended) -> Iterator[RenderableType]:
    """The choices for rich."""
    yield Text.assemble((wanted(found), "bold"), f"  run {found.run}")
    for choice in found.choices:
        yield Text.assemble(
            "\n", (plain(f"{choice.model} on {choice.device}"), "bold"), f"  {choice.kind}"
        )
        yield _options(choice)
        for why, names in reasons(choice).items():
            yield Padding(Text(plain(f"{', '.join(names)}: {_short(why)}")), (0, 0, 0, 4))
        for line in choice.alike:
            yield Padding(Text(plain(line), style="yellow"), (0, 0, 0, 4))
        yield Text(plain(conclusion(choice)), style="bold")
    if told := unfinished(found):
        yield Text(f"\n{told}", style="yellow")
    yield Text("\n* take   | on the Pareto front: no other is as good in everything, better in one")


def _options(choice: Choice) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("", no_wrap=True, min_width=2)
    table.add_column("variant", overflow="fold", min_width=16)
    for name in _NUMBERS:
        table.add_column(name, justify="right", no_wrap=True)
    for item in choice.options:
        if item.accuracy is None and item.latency is None and item.memory is None:
            continue  # said below why
        mark = ("*" if item is choice.best else "") + ("|" if item.frontier else "")
        table.add_row(mark, Text(plain(item.name)), *_cells(item))
    return table


def _cells(item: Option) -> tuple[str, ...]:
    accuracy = item.accuracy
    share = accuracy is not None and accuracy.unit in ("share", "area")
    return (
        numbers.percent(accuracy.value) if accuracy and share else
        numbers.significant(accuracy.value if accuracy else None),
        "" if item.drop is None else f"{item.drop * 100:+.2f}",
        numbers.latency(
            {
                "kind": item.record.job.kind.value, "latency_median_ms": item.latency,
                "latency_low_ms": item.latency_low, "latency_high_ms": item.latency_high,
            }
        ),
        numbers.size(item.size),
        numbers.size(item.memory),
    )  # fmt: skip


def reasons(choice: Choice) -> dict[str, list[str]]:
    """Why the others lost, and of which each is told."""
    found: dict[str, list[str]] = {}
    for item in choice.options:
        if item is not choice.best:
            why = "; ".join((*item.outside, *item.lost))
            found.setdefault(" ".join(why.split()), []).append(item.name)
    return found


def conclusion(choice: Choice) -> str:
    """What to take, or that there is nothing."""
    if choice.best is not None:
        return f"take {choice.best.name}"
    if all(item.record.status != "ok" for item in choice.options):
        return f"nothing was measured on {choice.device}: nothing can be taken"
    return "none keeps the bounds"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."


def as_json(found: Recommended) -> str:
    """What was asked, the best of each model and device, and every option."""
    whole = {
        "run": found.run,
        "pending": found.pending,
        "minimize": found.goal,
        "bounds": dict(found.bounds),
        "choices": [
            {
                "model": choice.model,
                "device": choice.device,
                "kind": choice.kind,
                "best": None if choice.best is None else _row(found.run, choice, choice.best),
                "alike": list(choice.alike),
                "options": [_row(found.run, choice, item) for item in choice.options],
            }
            for choice in found.choices
        ],
    }
    return json.dumps(whole, indent=1, allow_nan=False)


def as_csv(found: Recommended) -> str:
    """The rows, RFC 4180."""
    return csv_text(COLUMNS, found.rows())


def as_markdown(found: Recommended) -> str:
    """GitHub-flavoured: a table per model and device."""
    lines = [f"### {escape(wanted(found))}", "", f"Run {escape(found.run)}.", ""]
    if told := unfinished(found):
        lines += [f"**{escape(told)}**", ""]
    for choice in found.choices:
        title = f"{choice.model} on {choice.device}, {choice.kind}: {conclusion(choice)}"
        lines += [f"#### {escape(title)}", ""]
        rows = []
        for item in choice.options:
            mark = ("take" if item is choice.best else "") + (" (front)" if item.frontier else "")
            why = _short(" ".join("; ".join((*item.outside, *item.lost)).split()))
            rows.append((mark, item.name, *_cells(item), why))
        lines += [*markdown_table(("", "variant", *_NUMBERS, "why not"), _NUMBERS, rows), ""]
        if choice.alike:
            lines += [*(f"- {escape(line)}" for line in choice.alike), ""]
    return "\n".join(lines).rstrip("\n")


FORMS = {"json": as_json, "csv": as_csv, "markdown": as_markdown}
