"""How often intervals hold the truth, and what a slowdown must be to be found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.common import Line
from harness.decide.compare import MIN_EFFECT, SIGNIFICANCE
from harness.domain import Policy
from harness.simulation.noise import SHAPES
from harness.stats import median_interval, median_ratio, precise_enough

TRIALS = (3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 25)
SLOWDOWNS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
SAMPLES = 100

#: Where the curves of the documentation are written, under the working folder.
PAGE = Path("results") / "coverage.html"


def held(shape: str, trials: int, experiments: int) -> float:
    """The share of experiments whose interval holds the truth."""
    rng = np.random.default_rng(trials)
    draw = SHAPES[shape].draw
    hits = 0
    for _ in range(experiments):
        medians = np.median(draw(rng, trials, SAMPLES), axis=1)
        _, low, high = median_interval(medians, replicates=1000)
        hits += low <= 1 <= high
    return hits / experiments


def job(rng: np.random.Generator, spread: float, scale: float) -> np.ndarray:
    """Trial medians of a job under the default Policy, processes differing by ``spread``."""
    policy = Policy()
    medians = scale * np.exp(rng.normal(0, spread, policy.max_trials))
    count = policy.trials
    while count < policy.max_trials and not precise_enough(medians[:count], policy.precision):
        count += 1
    return medians[:count]


def shown(spread: float, slowdown: float, experiments: int) -> float:
    """The share of experiments in which a slowdown (percent) is called worse."""
    rng = np.random.default_rng(int(slowdown * 10))
    hits = 0
    for _ in range(experiments):
        effect = median_ratio(job(rng, spread, 1), job(rng, spread, 1 + slowdown / 100))
        hits += effect.p <= SIGNIFICANCE and effect.low > 1 and effect.value >= 1 + MIN_EFFECT
    return hits / experiments


def run(rounds: int) -> Iterator[Line]:
    """Coverage of the 95 % interval of the median, and the power of a comparison, simulated."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    experiments = 200 * rounds
    figure = make_subplots(
        1, 2, subplot_titles=("intervals that hold the truth", "slowdowns that are called worse")
    )
    for shape in SHAPES:
        shares = [held(shape, trials, experiments) * 100 for trials in TRIALS]
        figure.add_trace(
            go.Scatter(x=TRIALS, y=shares, mode="lines+markers", name=shape), row=1, col=1
        )
        yield Line(f"{shape}: held, percent of {experiments}", tuple(shares), 92, 98, " %")
    for spread in (0.005, 0.01, 0.02, 0.03):
        shares = [shown(spread, slowdown, experiments // 10) * 100 for slowdown in SLOWDOWNS]
        name = f"processes differ by {spread * 100:g} %"
        figure.add_trace(
            go.Scatter(x=SLOWDOWNS, y=shares, mode="lines+markers", name=name, line_dash="dot"),
            row=1, col=2,
        )  # fmt: skip
        yield Line(f"{name}: equal ones called worse", (shares[0],), 0, 5, " %")
    figure.update_xaxes(title="trials", row=1, col=1)
    figure.update_xaxes(title="true slowdown, %", row=1, col=2)
    figure.update_yaxes(title="%", range=[80, 100], row=1, col=1)
    figure.update_yaxes(title="%", range=[0, 101], row=1, col=2)
    figure.update_layout(template="plotly_white", width=1200, height=480)
    PAGE.parent.mkdir(exist_ok=True)
    figure.write_html(PAGE, include_plotlyjs=True, config={"displayModeBar": False})
    print(f"  curves: {PAGE}")
