"""Pictures of the server scenario: the latency of each query over the time of its arrival."""

from __future__ import annotations

from harness.domain import JobStatus, Scenario, TrialStatus
from harness.reports.charts import COLOURS, layout, plain
from harness.reports.view import RunView

#: Points of one series; of more, those at even distances are drawn, and the highest.
_POINTS = 2000

#: Charts of one report.
_MOST = 24


def latency_over_time(view: RunView) -> list[tuple[str, str]]:
    """One chart per model, device, backend and server scenario, ``(heading, figure JSON)``.

    Queries that wait for others show as latencies that climb; the line is the bound.
    """
    import numpy as np
    import plotly.graph_objects as go

    texts = view.suite.policy.scenarios
    figures: dict[tuple[str, str], go.Figure] = {}
    for job in view.jobs:
        if job.status is not JobStatus.OK or not job.facts.get("scenarios"):
            continue
        for trial in view.store.trials(job.id, with_samples=True):
            part = trial.facts.get("part")
            if trial.purpose != "scenarios" or trial.status is not TrialStatus.OK:
                continue
            if type(part) is not int or not 0 <= part < len(texts):
                continue
            scenario = Scenario.parse(texts[part])
            at, values = trial.phases.get("query", (np.empty(0), np.empty(0)))
            if scenario.name != "server" or not len(values):
                continue
            where = f"{job.job.model} on {job.job.device} ({job.job.backend})"
            key = (f"{where}, {job.job.kind.value}", scenario.text)
            if key not in figures:
                if len(figures) == _MOST:
                    continue
                figures[key] = go.Figure()
                title = f"latency with the queue, ms ({job.job.kind.value})"
                figures[key].update_layout(**layout("arrival, s", title))
                figures[key].add_hline(
                    y=scenario.latency_bound_ms, line_dash="dash", line_color="#6b7280"
                )
            shown = np.unique(
                np.append(
                    np.linspace(0, len(values) - 1, min(len(values), _POINTS)).astype(int),
                    values.argmax(),
                )
            )
            figure = figures[key]
            figure.add_scatter(
                x=((at[shown] - at[0]) / 1e9).tolist(),
                y=(values[shown] / 1e6).tolist(),
                mode="markers",
                name=plain(job.job.recipe),
                marker={"size": 4, "color": COLOURS[len(figure.data) % len(COLOURS)]},
            )
    return [(", ".join(key), figure.to_json()) for key, figure in figures.items()]
