"""A comparison in turns for programs: one row per side."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from harness.decide.ab import Contest, Measured
from harness.reports import ab_text
from harness.reports.escapes import escape
from harness.reports.numbers import size
from harness.reports.texts import csv_text, markdown_table

#: The stable interface of ``harness ab --format csv``; new ones are added at the end. What is of
#: both sides stands in both rows.
COLUMNS = (
    "side", "model", "recipe", "device", "kind", "backend", "runtime", "runtime_version",
    "agent", "variant_sha256", "size_bytes", "trials", "median_ms", "low_ms", "high_ms", "status",
    "error", "answer", "ratio", "ratio_low", "ratio_high", "rounds", "seconds", "ended",
    "min_effect", "reason", "run",
)  # fmt: skip

_OF_A_SIDE = COLUMNS[: COLUMNS.index("answer")]


def rows(found: Contest) -> list[dict[str, Any]]:
    """Both sides as ``COLUMNS``; unknown and infinite numbers are ``None``."""
    standing = found.standing
    both = {
        "answer": standing.answer.value,
        "ratio": _finite(standing.ratio),
        "ratio_low": _finite(standing.low) if math.isfinite(standing.high) else None,
        "ratio_high": _finite(standing.high),
        "rounds": standing.rounds,
        "seconds": round(found.seconds, 3),
        "ended": found.ended,
        "min_effect": found.min_effect,
        "reason": found.failure or standing.reason or None,
        "run": found.run,
    }
    return [{**_side(letter, side), **both} for letter, side in (("a", found.a), ("b", found.b))]


def _side(letter: str, side: Measured) -> dict[str, Any]:
    record = side.record
    value, low, high = side.median or (math.nan, math.nan, math.nan)
    return {
        "side": letter,
        "model": record.job.model,
        "recipe": record.job.recipe,
        "device": record.job.device,
        "kind": record.job.kind.value,
        "backend": str(record.job.backend),
        "runtime": record.runtime,
        "runtime_version": record.runtime_version,
        "agent": (record.facts.get("agent") or [None])[0],
        "variant_sha256": record.variant_sha256,
        "size_bytes": record.size_bytes,
        "trials": len(side.medians),
        "median_ms": _finite(value),
        "low_ms": _finite(low),
        "high_ms": _finite(high),
        "status": record.status.value,
        "error": record.error,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def as_json(found: Contest, _width: int) -> str:
    """One object: the answer, and ``sides`` with A and B."""
    both = rows(found)
    answer = {key: value for key, value in both[0].items() if key not in _OF_A_SIDE}
    sides = {row["side"]: {key: row[key] for key in _OF_A_SIDE[1:]} for row in both}
    said = {"sentence": ab_text.sentence(found), "same": found.same}
    return json.dumps({**answer, **said, "sides": sides}, indent=2, allow_nan=False)


def as_csv(found: Contest, _width: int) -> str:
    """``COLUMNS`` with a heading."""
    return csv_text(COLUMNS, rows(found))


def as_markdown(found: Contest, _width: int) -> str:
    """The answer and a table for a comment on a change."""
    made = []
    for letter, side in (("A", found.a), ("B", found.b)):
        numbers = *ab_text.interval(side), len(side.medians), size(side.record.size_bytes)
        made.append((letter, ab_text.where(side), ab_text.runtime(side), *numbers))
    right = ("median ms", "95 % interval", "trials", "size")
    return "\n".join(
        [
            f"**{escape(ab_text.sentence(found))}**",
            "",
            *markdown_table(("", "variant", "runtime", *right), right, made),
            "",
            *(f"- {escape(line)}" for line in ab_text.remarks(found)),
        ]
    )


FORMS: dict[str, Callable[[Contest, int], str]] = {
    "table": ab_text.render,
    "json": as_json,
    "csv": as_csv,
    "markdown": as_markdown,
}
