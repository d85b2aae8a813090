"""Figures of the HTML report, as Plotly's JSON.

Text from outside goes through :func:`plain`: Plotly reads a little markup in labels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.domain import DeviceKind, JobStatus, Stage, TrialStatus
from harness.errors import MissingExtraError
from harness.reports import numbers
from harness.reports.rows import compared_rows
from harness.reports.view import RunView
from harness.store import JobRecord

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f")
_SYMBOLS = {"real": "circle", "emulated": "diamond", "simulated": "square"}

#: Marker diameters in pixels of the smallest and the largest file.
_MARKER = (10.0, 34.0)


def plotly_script() -> str:
    """Plotly's JavaScript; raises ``MissingExtraError`` where the package is missing."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise MissingExtraError(
            "the HTML report needs plotly", hint="pip install 'edge-harness[report]'"
        ) from None
    return str(get_plotlyjs())


def plain(text: object) -> str:
    """Text that Plotly shows letter by letter."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def accuracy_against_latency(view: RunView) -> list[tuple[str, str]]:
    """One scatter per kind of device and metric, ``(kind, figure JSON)``; neither is mixed."""
    import plotly.graph_objects as go

    rows = [
        row
        for row in compared_rows(view.jobs)
        if row["metric_value"] is not None and row["latency_median_ms"]
    ]
    figures = []
    for kind, metric in dict.fromkeys((row["kind"], row["metric"]) for row in rows):
        figure = go.Figure()
        of_kind = [row for row in rows if (row["kind"], row["metric"]) == (kind, metric)]
        factor = 1 if of_kind[0]["accuracy"] is None else 100
        sizes = np.sqrt([row["size_bytes"] for row in of_kind])
        low, high = float(sizes.min()), float(sizes.max())
        series = dict.fromkeys((row["model"], row["device"], row["backend"]) for row in of_kind)
        for index, key in enumerate(series):
            model, device, backend = key
            shown = [row for row in of_kind if (row["model"], row["device"], row["backend"]) == key]
            figure.add_scatter(
                x=[row["latency_median_ms"] for row in shown],
                y=[row["metric_value"] * factor for row in shown],
                error_x=_errors(shown, "latency_median_ms", "latency_low_ms", "latency_high_ms", 1),
                error_y=_errors(shown, "metric_value", "metric_low", "metric_high", factor),
                mode="markers+text",
                text=[plain(row["recipe"]) for row in shown],
                textposition=[
                    "bottom center" if position % 2 else "top center"
                    for position in _ranks([row["latency_median_ms"] for row in shown])
                ],
                textfont={"size": 11},
                name=plain(f"{model} on {device} ({backend})"),
                marker={
                    "color": _COLOURS[index % len(_COLOURS)],
                    "symbol": _SYMBOLS[kind],
                    "opacity": 0.75,
                    "size": [_diameter(row["size_bytes"] ** 0.5, low, high) for row in shown],
                },
                hovertext=[plain(_hover(row)) for row in shown],
                hoverinfo="text",
            )
        title = "top-1 accuracy, %" if metric == "top1" else numbers.heading([metric])
        figure.update_layout(**layout(f"latency, median ms ({kind})", title))
        if factor == 1:  # an error: up is better in every chart
            figure.update_yaxes(autorange="reversed")
        figure.update_xaxes(**_log_axis([row["latency_median_ms"] for row in of_kind]))
        figures.append((kind, figure.to_json()))
    return figures


def latency_by_trial(view: RunView) -> list[tuple[str, str]]:
    """One box chart per model, device and backend, ``(heading, figure JSON)``.

    Boxes span the quartiles of a trial's samples, whiskers its 5th to 95th percentile; each
    trial is a process of its own.
    """
    import plotly.graph_objects as go

    figures = []
    timed = [
        job
        for job in view.jobs
        if job.status is JobStatus.OK and job.job.kind is not DeviceKind.EMULATED
    ]
    keys = dict.fromkeys((j.job.model, j.job.device, str(j.job.backend)) for j in timed)
    for model, device, backend in keys:
        shown = [
            job
            for job in timed
            if (job.job.model, job.job.device, str(job.job.backend)) == (model, device, backend)
        ]
        boxes = [(job, _boxes(view, job)) for job in shown]
        trials = max((len(found) for _, found in boxes), default=0)
        if not trials:
            continue
        figure = go.Figure()
        for index in range(trials):
            having = [(job, found[index]) for job, found in boxes if index < len(found)]
            _add_box(figure, index, having)
        kind = shown[0].job.kind.value
        figure.update_layout(
            **layout("", f"latency, ms ({kind})"), boxmode="group", boxgroupgap=0.2
        )
        ends = [box[end] for _, found in boxes for box in found for end in ("p5", "p95")]
        figure.update_yaxes(**_log_axis(ends))
        figures.append((f"{model} on {device} ({backend}), {kind}", figure.to_json()))
    return figures


def _add_box(
    figure: go.Figure, index: int, having: Sequence[tuple[JobRecord, dict[str, float]]]
) -> None:
    figure.add_box(
        x=[plain(job.job.recipe) for job, _ in having],
        q1=[box["q1"] for _, box in having],
        median=[box["median"] for _, box in having],
        q3=[box["q3"] for _, box in having],
        lowerfence=[box["p5"] for _, box in having],
        upperfence=[box["p95"] for _, box in having],
        name=f"trial {index + 1}",
        marker={"color": _COLOURS[index % len(_COLOURS)]},
        line={"width": 1.2},
        whiskerwidth=0.5,
    )


def _boxes(view: RunView, job: JobRecord) -> list[dict[str, float]]:
    found = []
    for trial in view.store.trials(job.id, with_samples=True):
        if trial.purpose == Stage.LATENCY.value and trial.status is TrialStatus.OK:
            values = trial.phases.get("measure", (None, np.empty(0)))[1] / 1e6
            if len(values):
                points = np.percentile(values, [5, 25, 50, 75, 95])
                found.append(
                    dict(zip(("p5", "q1", "median", "q3", "p95"), map(float, points), strict=True))
                )
    return found


def _ranks(values: Sequence[float]) -> list[int]:
    """The place of each value in ascending order."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    ranks = [0] * len(values)
    for rank, index in enumerate(order):
        ranks[index] = rank
    return ranks


def _log_axis(values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis with ticks at 1, 2 and 5 of each decade, as plain numbers."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    if max(positive) < 3 * min(positive):
        return {"type": "linear"}
    ticks = [step * 10.0**power for power in range(low - 1, high + 1) for step in (1, 2, 5)]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:.12g}" for tick in ticks]}


def _diameter(root: float, low: float, high: float) -> float:
    share = (root - low) / (high - low) if high > low else 0.5
    return _MARKER[0] + share * (_MARKER[1] - _MARKER[0])


def _errors(
    rows: Sequence[dict[str, Any]], value: str, low: str, high: str, factor: float
) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [_distance(row[value], row[high], factor) for row in rows],
        "arrayminus": [_distance(row[low], row[value], factor) for row in rows],
        "thickness": 1,
        "width": 3,
    }


def _distance(low: float | None, high: float | None, factor: float) -> float:
    return (high - low) * factor if low is not None and high is not None else 0.0


def _hover(row: dict[str, Any]) -> str:
    return (
        f"{row['model']}/{row['recipe']} on {row['device']} ({row['backend']}), {row['kind']}: "
        f"{numbers.named_accuracy(row)}, {numbers.latency(row)} ms, "
        f"{numbers.size(row['size_bytes'])}"
    )


def layout(x: str, y: str) -> dict[str, Any]:
    """What all charts share; ``x`` and ``y`` are the titles of the axes."""
    grid = {"gridcolor": "#e5e7eb", "zeroline": False, "linecolor": "#9ca3af", "ticks": "outside"}
    return {
        "template": "none",
        "height": 380,
        "margin": {"l": 70, "r": 20, "t": 20, "b": 60},
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": "#1f2937"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "#ffffff",
        "xaxis": {"title": {"text": x}, **grid},
        "yaxis": {"title": {"text": y}, **grid},
        "legend": {"orientation": "h", "y": 1.12, "x": 0},
        "hoverlabel": {"align": "left"},
        "showlegend": True,
    }
