"""Which operators cost a quantized model its accuracy, as a picture: one HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.cache import whole_file
from harness.reports.charts import plain, plotly_script


def figure(found: Mapping[str, Any]) -> Any:
    """Two rows over the operators in order: the error of each, and what keeping it float wins."""
    from plotly.subplots import make_subplots

    rows = sorted(found["operators"], key=lambda row: int(row["index"]))
    labels = [f"{row['index']} {row['kind']}" for row in rows]
    names = [plain(row["name"]) for row in rows]
    by_accuracy = any(row["accuracy_gain"] is not None for row in rows)
    gain, unit = ("accuracy_gain", "points") if by_accuracy else ("snr_gain_db", "dB")
    factor = 100 if by_accuracy else 1
    made = make_subplots(
        rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06,
        subplot_titles=(
            "Error of the operator by itself, in steps of its output (dotted: rounding alone)",
            f"What the model wins when this operator alone stays in float, {unit}",
        ),
    )  # fmt: skip
    made.add_bar(
        x=labels, y=[row["rmse_over_scale"] for row in rows], customdata=names,
        hovertemplate="%{customdata}<br>%{y:.3g} steps<extra></extra>", marker_color="#2563eb",
        row=1, col=1,
    )  # fmt: skip
    made.add_hline(y=0.289, line_dash="dot", line_color="#6b7280", row=1, col=1)
    made.add_bar(
        x=labels,
        y=[None if row[gain] is None else row[gain] * factor for row in rows],
        customdata=names,
        hovertemplate="%{customdata}<br>%{y:+.3g} " + unit + "<extra></extra>",
        marker_color="#d97706",
        row=2, col=1,
    )  # fmt: skip
    made.update_layout(
        title=plain(f"{found['model']}, {found['recipe']}"), showlegend=False, height=680,
        template="plotly_white", margin={"l": 60, "r": 20, "t": 90, "b": 160},
    )  # fmt: skip
    return made


def write(found: Mapping[str, Any], path: Path) -> Path:
    """Write the picture; raises ``MissingExtraError`` without plotly, ``HarnessError``."""
    script = plotly_script()
    body = figure(found).to_html(full_html=False, include_plotlyjs=False, div_id="loss")
    with whole_file(path) as part:
        part.write_text(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>Loss by operator</title>'
            f"<script>{script}</script><body>{body}</body></html>\n",
            encoding="utf-8",
        )
        part.chmod(0o644)
    return path
