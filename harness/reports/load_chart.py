"""Latency, temperature and frequency over the time of a sustained load, as Plotly's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.domain import DeviceKind, Stage, TrialStatus
from harness.metrics import TrialObservation
from harness.metrics.sustained import Load, load_of
from harness.reports.view import RunView
from harness.store import JobRecord

#: More points than this nobody sees: every n-th interval is drawn.
_MOST_POINTS = 1500

_GAP = 0.07


def over_time(
    view: RunView, layout: dict[str, Any], colours: Sequence[str]
) -> list[tuple[str, str]]:
    """One chart per job that was kept under load, ``(heading, figure JSON)``.

    Each point is an interval's median, the band spans its 5th to 95th percentile.
    """
    figures = []
    for job in view.jobs:
        if job.job.kind is DeviceKind.EMULATED:
            continue
        load = _load(view, job)
        if load is not None:
            heading = f"{job.job.label}, {job.job.kind.value}"
            figures.append((heading, _figure(load, layout, colours)))
    return figures


def _load(view: RunView, job: JobRecord) -> Load | None:
    if "sustained_first" not in job.measurements:
        return None
    for trial in reversed(view.store.trials(job.id, with_samples=True)):
        if trial.purpose == Stage.SUSTAINED.value and trial.status is TrialStatus.OK:
            phases = {phase: values for phase, (_, values) in trial.phases.items()}
            at = {phase: at for phase, (at, _) in trial.phases.items()}
            return load_of(TrialObservation(phases, trial.facts, at))
    return None


def _figure(load: Load, layout: dict[str, Any], colours: Sequence[str]) -> str:
    import plotly.graph_objects as go

    origin = load.start[0]
    step = -(-len(load.start) // _MOST_POINTS)
    times = ((load.start + load.length / 2 - origin) / 60)[::step].tolist()
    figure = go.Figure()
    figure.add_scatter(
        x=times + times[::-1], y=load.p95[::step].tolist() + load.p5[::step].tolist()[::-1],
        fill="toself", mode="none", fillcolor="rgba(37, 99, 235, 0.18)", hoverinfo="skip",
        name="5th to 95th percentile",
    )  # fmt: skip
    figure.add_scatter(
        x=times, y=load.median[::step].tolist(), mode="lines", name="median",
        line={"color": colours[0], "width": 1.8},
    )  # fmt: skip
    others = [
        (title, (at - origin) / 60, values, colour)
        for title, (at, values), colour in (
            ("°C", load.temperature, colours[3]),
            ("MHz", load.frequency, colours[2]),
        )
        if len(values)
    ]
    heights = [0.55, *[0.45 / len(others)] * len(others)] if others else [1.0]
    axes: dict[str, Any] = {}
    top = 1.0
    for row, height in enumerate(heights):
        axis = "yaxis" + (str(row + 1) if row else "")
        title = "latency, ms" if row == 0 else others[row - 1][0]
        bottom = max(0.0, top - height)
        axes[axis] = {
            **layout["yaxis"],
            "title": {"text": title},
            "domain": [bottom if row == len(heights) - 1 else bottom + _GAP, top],
        }
        top = bottom
    # A latency's axis begins at zero: a throttled clock is seen for what it is.
    axes["yaxis"]["rangemode"] = "tozero"
    for row, (title, at, values, colour) in enumerate(others, start=2):
        gap = -(-len(at) // _MOST_POINTS)
        figure.add_scatter(
            x=at[::gap].tolist(), y=values[::gap].tolist(), mode="lines", yaxis=f"y{row}",
            name={"°C": "temperature", "MHz": "frequency"}[title],
            line={"color": colour, "width": 1.5, "shape": "hv" if title == "MHz" else "linear"},
        )  # fmt: skip
    x = {
        **layout["xaxis"],
        "title": {"text": "minutes under load"},
        "anchor": f"y{len(heights)}" if len(heights) > 1 else "y",
    }
    figure.update_layout(**{**layout, **axes, "xaxis": x, "height": 260 + 130 * len(heights)})
    return str(figure.to_json())
