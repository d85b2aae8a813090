"""Predicted against published latencies, one panel per device, as an SVG picture.

Drawn by hand of a few shapes, so that it needs no plotting library and the same table gives the
same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil, floor, log10
from pathlib import Path

from harness.calibration.judging import FACTOR, Judged
from harness.calibration.validation import Validation
from harness.errors import UsageError
from harness.reports.files import write_text

_SIDE, _GAP, _LEFT, _TOP, _COLUMNS = 210, 78, 70, 64, 3

#: One colour and one shape for each accelerator: told apart without colour too.
_MARKS = {
    "cpu": ("#1f6fb4", "circle"),
    "gpu": ("#c4561c", "square"),
    "nnapi": ("#2a8a4a", "diamond"),
    "npu": ("#8a4fb0", "triangle"),
    "edgetpu": ("#b0243c", "cross"),
}


def write(found: Validation, path: Path) -> Path:
    """Write the picture; raises ``UsageError`` where no row could be predicted."""
    if path.suffix.lower() != ".svg":
        raise UsageError(f"{path}: the picture is an SVG", hint=f"write {path.stem}.svg")
    if not found.predicted:
        raise UsageError(f"{found.table}: no row could be predicted, so there is nothing to draw")
    return write_text(path, draw(found))


def draw(found: Validation) -> str:
    """The picture's text."""
    groups: dict[str, list[Judged]] = {}
    for row in found.predicted:
        groups.setdefault(row.device, []).append(row)
    names = sorted(groups)
    lines = ceil(len(names) / _COLUMNS)
    width = _LEFT + _COLUMNS * (_SIDE + _GAP)
    height = _TOP + lines * (_SIDE + _GAP) + 20
    seen = f"each by a fit without its {found.unseen}" if found.unseen else "fitted to these rows"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="20" font-size="14">Predicted against published latency, ms '
        f"({seen}; band: a factor of {FACTOR}; bars: 90 % intervals)</text>",
        _legend({row.place for row in found.predicted}),
    ]
    for position, name in enumerate(names):
        x = _LEFT + (position % _COLUMNS) * (_SIDE + _GAP)
        y = _TOP + (position // _COLUMNS) * (_SIDE + _GAP)
        parts.append(_panel(name, groups[name], x, y))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def _legend(places: set[str]) -> str:
    parts = []
    x = _LEFT
    for place, (colour, shape) in _MARKS.items():
        if place in places:
            parts.append(_mark(shape, colour, x + 4, 37))
            parts.append(f'<text x="{x + 14}" y="41">{place}</text>')
            x += 90
    return "".join(parts)


def _panel(name: str, rows: Sequence[Judged], left: int, top: int) -> str:
    values = [row.case.published.published_ms or 1.0 for row in rows]
    values += [row.predicted_ms or 1.0 for row in rows]
    low, high = floor(log10(min(values)) - 0.05), ceil(log10(max(values)) + 0.05)
    scale = _SIDE / (high - low)

    def across(value: float) -> float:
        return left + (log10(value) - low) * scale

    def up(value: float) -> float:
        return top + _SIDE - (log10(value) - low) * scale

    band = log10(FACTOR) * scale
    parts = [
        f'<clipPath id="c{left}-{top}"><rect x="{left}" y="{top}" width="{_SIDE}" '
        f'height="{_SIDE}"/></clipPath>',
        f'<text x="{left}" y="{top - 6}" font-weight="bold">{escape(name)}</text>',
        f'<g clip-path="url(#c{left}-{top})"><polygon fill="#e8eef4" points="'
        f"{left},{top + _SIDE - band:.1f} {left + _SIDE},{top - band:.1f} "
        f'{left + _SIDE},{top + band:.1f} {left},{top + _SIDE + band:.1f}"/>'
        f'<line x1="{left}" y1="{top + _SIDE}" x2="{left + _SIDE}" y2="{top}" stroke="#777"/>',
    ]
    for row in rows:
        colour, shape = _MARKS[row.place if row.place in _MARKS else "cpu"]
        x = across(row.case.published.published_ms or 1.0)
        parts.append(
            f'<line x1="{x:.1f}" y1="{up(row.low_ms or 1.0):.1f}" x2="{x:.1f}" '
            f'y2="{up(row.high_ms or 1.0):.1f}" stroke="{colour}" stroke-opacity="0.35"/>'
        )
        parts.append(_mark(shape, colour, x, up(row.predicted_ms or 1.0)))
    parts.append("</g>")
    parts.append(
        f'<rect x="{left}" y="{top}" width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#333"/>'
    )
    for power in range(low, high + 1):
        value = 10.0**power
        x, y = across(value), up(value)
        label = f"{value:g}"
        parts.append(
            f'<line x1="{x:.1f}" y1="{top + _SIDE}" x2="{x:.1f}" y2="{top + _SIDE + 4}" '
            f'stroke="#333"/><text x="{x:.1f}" y="{top + _SIDE + 16}" text-anchor="middle">'
            f"{label}</text>"
            f'<line x1="{left - 4}" y1="{y:.1f}" x2="{left}" y2="{y:.1f}" stroke="#333"/>'
            f'<text x="{left - 7}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
        )
    parts.append(
        f'<text x="{left + _SIDE / 2}" y="{top + _SIDE + 32}" text-anchor="middle">'
        f"published ({len(rows)} rows)</text>"
    )
    return "".join(parts)


def _mark(shape: str, colour: str, x: float, y: float) -> str:
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="{colour}" fill-opacity="0.75"/>'
    paths = {
        "square": "M-3-3H3V3H-3Z",
        "diamond": "M0-4L4 0L0 4L-4 0Z",
        "triangle": "M0-4L4 3H-4Z",
        "cross": "M-3.5-2L-2-3.5L0-1.5L2-3.5L3.5-2L1.5 0L3.5 2L2 3.5L0 1.5L-2 3.5L-3.5 2L-1.5 0Z",
    }
    return (
        f'<path d="{paths[shape]}" transform="translate({x:.1f} {y:.1f})" fill="{colour}" '
        'fill-opacity="0.75"/>'
    )
