"""A history as a page of pictures that works offline: values, levels, changes and why."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.decide.history import Series
from harness.reports import history
from harness.reports.charts import layout, plain, plotly_script
from harness.reports.files import write_text
from harness.reports.html import for_script

if TYPE_CHECKING:
    import plotly.graph_objects as go

_POINT, _LEVEL, _CHANGE = "#2563eb", "#d97706", "#dc2626"


def write(series: Sequence[Series], path: Path) -> Path:
    """Write the page; raises ``MissingExtraError`` without plotly, ``UsageError``."""
    return write_text(path, render(series))


def render(series: Sequence[Series]) -> str:
    """The page's text; all text from outside is escaped."""
    script = plotly_script()
    environment = Environment(
        loader=PackageLoader("harness.reports"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("history.html.j2").render(
        metric=series[0].metric,
        device=series[0].key.device,
        summary=history.summary(series),
        figures=[
            {
                "id": f"series-{index}",
                "heading": item.key.label,
                "kind": item.key.kind,
                "canary": item.canary,
                "suite": item.key.suite,
                "conclusion": history.conclusion(item),
                "changes": _changes(item),
                "json": for_script(figure(item).to_json()),
            }
            for index, item in enumerate(series)
        ],
        plotly=Markup(script),  # noqa: S704  a package's own file, not text from outside
    )


def _changes(series: Series) -> list[dict[str, Any]]:
    return [
        {
            "number": number,
            "date": history.date(series.points[change.at]),
            "run": series.points[change.at].run,
            "effect": history.effect(change),
            "confirmed": change.confirmed,
            "causes": [(cause.kind.value, cause.evidence) for cause in change.causes],
        }
        for number, change in enumerate(series.changes, 1)
    ]


def figure(series: Series) -> go.Figure:
    """Values with their intervals, the median of each level, a line at each change.

    The runs stand side by side, whatever the time between them: a night that was left out
    leaves no gap, and two runs of one minute can be told apart.
    """
    import plotly.graph_objects as go

    factor = 100.0 if series.unit in ("share", "area") else 1.0
    factor = 1e-6 if series.unit == "bytes" else factor
    points = series.points
    made = go.Figure()
    made.add_scatter(
        x=list(range(len(points))),
        y=[point.value * factor for point in points],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [_above(p.value, p.high, factor) for p in points],
            "arrayminus": [_above(p.low, p.value, factor) for p in points],
            "thickness": 1,
            "width": 3,
        },
        mode="markers",
        name="run",
        marker={"color": _POINT, "size": 8},
        hovertext=[
            plain(
                f"{history.date(p)}  {p.run}: {history.value(series, p.value)} "
                f"{history.interval(series, p)}, file {p.under.variant[:8]}"
            )
            for p in points
        ],
        hoverinfo="text",
    )
    _add_levels(made, series, factor)
    _add_changes(made, series)
    made.update_layout(**layout("run", _axis(series)))
    step = max(1, -(-len(points) // 12))
    shown = list(range(0, len(points), step))
    made.update_yaxes(range=_headroom(series, factor))
    made.update_xaxes(
        tickvals=shown,
        ticktext=[points[index].created[:10] for index in shown],
        range=[-0.7, len(points) - 0.3],
    )
    return made


def _headroom(series: Series, factor: float) -> list[float]:
    """All values with their intervals, and above them room for what is said of the changes."""
    lows = [p.value if p.low is None else p.low for p in series.points]
    highs = [p.value if p.high is None else p.high for p in series.points]
    low, high = min(lows) * factor, max(highs) * factor
    span = (high - low) or abs(high) * 0.1 or 1.0
    return [low - 0.08 * span, high + (0.6 if series.changes else 0.08) * span]


def _axis(series: Series) -> str:
    title = history.title(series).replace("kB or MB", "MB")
    return f"{title} ({series.key.kind})"


def _add_levels(made: go.Figure, series: Series, factor: float) -> None:
    ends = [0, *(c.at for c in series.changes if c.confirmed), len(series.points)]
    x: list[float | None] = []
    y: list[float | None] = []
    for begin, end in pairwise(ends):
        values = sorted(point.value for point in series.points[begin:end])
        half = len(values) // 2
        middle = (values[half] + values[~half]) / 2 * factor
        x += [begin - 0.4, end - 0.6, None]
        y += [middle, middle, None]
    made.add_scatter(
        x=x, y=y, mode="lines", name="median of a level", hoverinfo="skip",
        line={"color": _LEVEL, "width": 2},
    )  # fmt: skip


def _add_changes(made: go.Figure, series: Series) -> None:
    for number, change in enumerate(series.changes, 1):
        dash = "dash" if change.confirmed else "dot"
        made.add_vline(x=change.at - 0.5, line={"color": _CHANGE, "width": 1.2, "dash": dash})
        kinds = [cause.kind.value for cause in change.causes] or ["cannot tell yet"]
        words = textwrap.wrap(f"{number}: {history.effect(change)}, {', '.join(kinds)}", 30)
        left = change.at > 0.6 * len(series.points)
        made.add_annotation(
            x=change.at - 0.5, y=1 - 0.14 * ((number - 1) % 3), yref="paper",
            text="<br>".join(plain(word) for word in words), showarrow=False,
            xanchor="right" if left else "left", yanchor="top", align="left",
            font={"color": _CHANGE, "size": 12}, bgcolor="rgba(255,255,255,0.8)",
        )  # fmt: skip


def _above(low: float | None, high: float | None, factor: float) -> float:
    return (high - low) * factor if low is not None and high is not None else 0.0
