"""Pictures of profiles for the HTML report: the operators that take most of a job's time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.domain import Stage
from harness.metrics.profile import Profile, ProfiledOperator
from harness.reports.charts import COLOURS, layout, plain
from harness.reports.operator_rows import by
from harness.reports.operators_table import profile_lines, short_output
from harness.reports.profiles import JobProfile, job_profiles
from harness.reports.view import RunView

#: Bars of one picture; the others are one bar more.
_BARS = 20

#: Pictures of one report: thousands of jobs would make a page that nobody can open.
MAX_PICTURES = 40

#: Letters beside a bar.
_LABEL = 40

#: Who ran an operator, its colour and its name in the legend.
_RAN: Mapping[bool | None, tuple[str, str]] = {
    True: (COLOURS[0], "delegated"),
    False: (COLOURS[1], "by the runtime itself"),
    None: ("#9ca3af", "not known by whom"),
}


def pictures(view: RunView) -> tuple[list[dict[str, Any]], list[str]]:
    """A picture per profiled job, and lines about what has none; both empty without profiles.

    Each picture: ``label``, ``kind``, ``lines`` (what qualifies the numbers), ``figure`` (JSON, or
    ``None`` where there are no times).
    """
    if Stage.OPERATORS.value not in view.suite.policy.measure:
        return [], []
    items = job_profiles(view)
    made = [
        {
            "label": item.record.job.label,
            "kind": item.record.job.kind.value,
            "lines": profile_lines(item),
            "figure": _figure(item.profile) if item.profile.sum_ns else None,
        }
        for item in items
        if item.profile is not None
    ]
    return made[:MAX_PICTURES], [*_without(items), *_left_out(len(made))]


def _without(items: Sequence[JobProfile]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for item in items:
        if item.profile is None:
            reasons.setdefault(item.reason, []).append(item.record.job.label)
    return [f"{', '.join(labels)}: {reason}" for reason, labels in reasons.items()]


def _left_out(count: int) -> list[str]:
    more = count - MAX_PICTURES
    return [f"{more} more jobs: see harness operators"] if more > 0 else []


def _figure(profile: Profile) -> str:
    """Bars from the top down, the longest first; colours by who ran the operator."""
    import plotly.graph_objects as go

    shown = profile.top(_BARS)
    figure = go.Figure()
    for ran, (colour, name) in _RAN.items():
        places = [index for index, operator in enumerate(shown) if operator.delegated is ran]
        if places:
            _add(figure, profile, [(place, shown[place]) for place in places], colour, name)
    labels = [_label(operator) for operator in shown]
    others = profile.count - len(shown)
    if others > 0:
        rest = (profile.sum_ns or 0.0) - sum(operator.time_ns or 0.0 for operator in shown)
        labels.append(f"{others:,} others")
        figure.add_bar(
            y=[len(shown)], x=[max(0.0, rest) / 1e6], orientation="h", name="others",
            marker={"color": "#d1d5db"}, hoverinfo="x",
        )  # fmt: skip
    figure.update_layout(**layout("ms per inference", ""), bargap=0.25)
    figure.update_layout(
        height=120 + 23 * len(labels), margin={"l": 330, "r": 60, "t": 36, "b": 60},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(labels))), ticktext=[plain(label) for label in labels],
        range=[len(labels) - 0.4, -0.6], ticks="", showgrid=False,
    )  # fmt: skip
    figure.update_xaxes(rangemode="tozero")
    return str(figure.to_json())


def _add(
    figure: Any,
    profile: Profile,
    placed: Sequence[tuple[int, ProfiledOperator]],
    colour: str,
    name: str,
) -> None:
    figure.add_bar(
        y=[place for place, _ in placed],
        x=[(operator.time_ns or 0.0) / 1e6 for _, operator in placed],
        orientation="h",
        name=name,
        marker={"color": colour},
        text=[f"{(profile.share(operator.time_ns) or 0.0) * 100:.1f} %" for _, operator in placed],
        textposition="outside",
        cliponaxis=False,
        hovertext=[plain(_hover(operator)) for _, operator in placed],
        hoverinfo="text+x",
    )


def _label(operator: ProfiledOperator) -> str:
    if operator.joined:
        type_ = operator.type[: _LABEL - 14]
        return f"{type_}  {short_output(operator.output, _LABEL - 2 - len(type_))}"
    return operator.name[:_LABEL]


def _hover(operator: ProfiledOperator) -> str:
    output = f"{operator.output} {by(operator.shape)} {operator.dtype}"
    return f"{operator.name}, place {operator.place}: {output if operator.joined else 'not joined'}"
