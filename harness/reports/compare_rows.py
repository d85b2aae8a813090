"""A comparison as rows for programs: one per cell and measurement."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from harness.decide.compare import Compared, Comparison
from harness.domain import Outcome, Verdict
from harness.reports.escapes import escape
from harness.reports.texts import csv_text, markdown_table

#: Measurements that may be compared and their headings, in the order of the columns.
HEADINGS = {
    "latency_median": "latency",
    "top1": "top-1",
    "auc": "AUC",
    "map": "mAP",
    "miou": "mIoU",
    "mse": "MSE",
    "size": "size",
    "memory_peak": "memory",
    "delegated": "delegated",
}

#: The stable interface of ``harness compare --format json|csv``; new ones are added at the end.
COLUMNS = (
    "model", "recipe_base", "recipe_head", "device_base", "device_head", "kind", "backend",
    "metric", "outcome", "base", "head", "unit", "effect", "effect_low", "effect_high",
    "effect_unit", "p", "p_adjusted", "reason", "model_base",
)  # fmt: skip


def change(verdict: Verdict) -> str:
    """An effect in words: ``+3.1 ±0.8 %`` of a ratio, ``-1.20 ±0.5`` points of a share."""
    if verdict.effect is None:
        return ""
    scale, equal, form = (100, 1.0, ".1f") if verdict.unit == "ratio" else (100, 0.0, ".2f")
    if verdict.unit == "difference":
        scale, form = 1, ".3g"
    text = f"{(verdict.effect - equal) * scale:+{form}}"
    if verdict.low is not None and verdict.high is not None:
        half = (verdict.high - verdict.low) / 2 * scale
        text += f" ±{half:{form}}" if math.isfinite(half) else " ±?"
    return text + {"ratio": " %", "share": " pt"}.get(verdict.unit, "")


def rows(found: Comparison) -> list[dict[str, Any]]:
    """Every verdict as ``COLUMNS``; a cell that was not compared is one row without a metric."""
    made = []
    for item in found.cells:
        if item.refused:
            made.append({**_names(item), "outcome": "not compared", "reason": item.refused})
        for verdict in item.verdicts:
            made.append({**_names(item), **_numbers(verdict)})
    return [{name: row.get(name) for name in COLUMNS} for row in made]


def _names(item: Compared) -> dict[str, Any]:
    base = item.cell.base or item.cell.any
    head = item.cell.head or item.cell.any
    return {
        "model": head.job.model,
        "recipe_base": base.job.recipe,
        "recipe_head": head.job.recipe,
        "device_base": base.job.device,
        "device_head": head.job.device,
        "kind": head.job.kind.value,
        "backend": str(head.job.backend),
        "model_base": base.job.model,
    }


def _numbers(verdict: Verdict) -> dict[str, Any]:
    measured = verdict.head or verdict.base
    return {
        "metric": verdict.metric,
        "outcome": verdict.outcome.value,
        "base": verdict.base.value if verdict.base else None,
        "head": verdict.head.value if verdict.head else None,
        "unit": measured.unit if measured else None,
        "effect": verdict.effect,
        "effect_low": verdict.low,
        "effect_high": verdict.high,
        "effect_unit": verdict.unit,
        "p": verdict.p,
        "p_adjusted": verdict.adjusted,
        "reason": verdict.reason or None,
    }


def as_json(found: Comparison, _width: int) -> str:
    """An array of objects."""
    return json.dumps(rows(found), indent=2, allow_nan=False)


def as_csv(found: Comparison, _width: int) -> str:
    """``COLUMNS`` with a heading."""
    return csv_text(COLUMNS, rows(found))


def as_markdown(found: Comparison, _width: int) -> str:
    """A table for a comment on a change: every verdict, the worse ones first."""
    order = {Outcome.WORSE.value: 0, Outcome.BETTER.value: 1, "not compared": 2,
             Outcome.CANNOT_TELL.value: 3}  # fmt: skip
    verdicts = [(item, verdict) for item in found.cells for verdict in item.verdicts]
    verdicts.sort(key=lambda pair: order.get(pair[1].outcome.value, 4))
    made = [
        (
            f"{item.cell.label} {item.cell.any.job.kind.value}",
            HEADINGS[verdict.metric],
            change(verdict),
            verdict.outcome.value + (f" ({verdict.reason})" if verdict.reason else ""),
        )
        for item, verdict in verdicts
    ]
    made += [
        (item.cell.label, "", "", f"not compared: {item.refused}") for item in found.uncompared
    ]
    head = ("job", "measurement", "change", "verdict")
    return "\n".join(
        [
            f"**{escape(found.head)}** against **{escape(found.base)}**",
            "",
            *markdown_table(head, ("change",), made),
        ]
    )


FORMS: dict[str, Callable[[Comparison, int], str]] = {
    "json": as_json,
    "csv": as_csv,
    "markdown": as_markdown,
}
