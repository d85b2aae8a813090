"""Scenarios from the suite to the reports, on a simulated device and on this machine."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.config.suites import load_suite
from harness.domain import Scenario, Stage, TrialStatus
from harness.domain.scenario import SCENARIOS
from harness.errors import ConfigError
from harness.orchestrate.environment import known_names
from harness.orchestrate.events import TrialEnded
from harness.orchestrate.stop import Stop
from harness.reports import FORMATS, RunView, html
from harness.reports.scenarios import COLUMNS, render, rows, write_summaries
from harness.store import Store
from tests.support import needed, write_suite

Cli = Callable[..., subprocess.CompletedProcess[str]]

SHORT = "min_seconds=0.05, min_queries=70"
FAST = f"server(target_qps=300, latency_bound_ms=5, {SHORT})"
TOO_FAST = f"server(target_qps=90000, latency_bound_ms=5, {SHORT}, max_seconds=0.2)"
ALL = [f"single_stream({SHORT})", f"multi_stream({SHORT})", f"offline({SHORT})", FAST, TOO_FAST]


def policy(scenarios: list[str], measure: tuple[str, ...] = ("scenarios",)) -> str:
    return f"measure = {list(measure)}\nscenarios = {json.dumps(scenarios)}"


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder whose store has a run of every scenario on a simulated device."""
    folder = tmp_path_factory.mktemp("scenarios")
    suite = write_suite(folder / "suite.toml", devices=["pixel-3"], policy=policy(ALL))
    for _ in range(2):
        assert harness.run(suite, store=f"sqlite:///{folder}/r.db").outcome
    return folder


def loaded(folder: Path) -> RunView:
    return harness.load("last", store=f"sqlite:///{folder}/r.db").view


def test_what_people_read(cli: Cli, answered: Path) -> None:
    done = cli("scenarios", "--store", f"sqlite:///{answered}/r.db")
    assert done.returncode == 0, done.stderr
    text = done.stdout.strip()
    assert max(map(len, text.splitlines())) <= 100
    assert "not an official MLPerf" in " ".join(text.split())
    assert "digits on pixel-3 (cpu x4)  simulated" in text
    assert text.count(" VALID") == 2 and text.count("INVALID") == 3
    folded = " ".join(text.split())
    assert "early stopping: 70 queries, and 662 are needed" in folded
    assert "early stopping: 0 of 70 queries above the bound, which takes 459 queries" in folded
    assert "above the bound of 5 ms: reduce target_qps" in folded
    view = loaded(answered)
    whole = FORMATS["table"](view, 100)
    assert whole.count("INVALID") == 3 and "Policy: scenarios only" in whole
    assert "not an official MLPerf result" in FORMATS["markdown"](view, 100)


def test_what_programs_read(answered: Path) -> None:
    view = loaded(answered)
    found = json.loads(render(view, "json", 100))
    assert [row["scenario"] for row in found] == ALL
    assert all(tuple(row) == COLUMNS for row in found)
    read = list(csv.DictReader(io.StringIO(render(view, "csv", 100))))
    assert [row["verdict"] for row in read] == [row["verdict"] for row in found]
    assert tuple(read[0]) == COLUMNS
    documented = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text()
    for name in COLUMNS:
        assert f"`{name}`" in documented, name


def test_the_page_shows_scenarios_that_there_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text()
    shown = tomllib.loads(page.split("```toml\n")[1].split("```")[0])["policy"]
    names = {Scenario.parse(text).name for text in shown["scenarios"]}
    assert names == set(SCENARIOS) and "scenarios" in shown["measure"]
    for name, parameters in SCENARIOS.items():
        assert f"`{name}`" in page
        assert all(f"`{key}`" in page for key in parameters)


def test_the_same_seed_gives_the_same_numbers(answered: Path) -> None:
    with Store(f"sqlite:///{answered}/r.db", create=False) as store:
        one, other = (store.jobs(run.id)[0].facts["scenarios"] for run in store.runs())
    assert one == other and one[3]["verdict"] == "INVALID"  # 70 are too few for a percentile


def test_an_overloaded_server_queues_in_modelled_time(answered: Path) -> None:
    with Store(f"sqlite:///{answered}/r.db", create=False) as store:
        job = store.jobs(store.find_run("last").id)[0]
        trials = [t for t in store.trials(job.id, with_samples=True) if t.purpose == "scenarios"]
    assert [trial.index for trial in trials] == list(range(len(ALL)))
    at, values = trials[4].phases["query"]
    parts = [part.mean() for part in np.array_split(values, 10)]
    assert (np.diff(parts) > 0).all() and values[-1] > 0.1e9
    # At 300 per second nobody waits for a device that takes a tenth of that time.
    at, values = trials[3].phases["query"]
    assert np.median(values) < 1e6 and at[-1] - at[0] > 0.1e9


def test_the_report_has_them(answered: Path) -> None:
    text = html.render(loaded(answered))
    assert '<table id="scenarios"' in text and "not an official MLPerf result" in text
    assert text.count('data-chart="served-') == 2 and "latency with the queue" in text


def test_a_run_without_any(cli: Cli, tmp_path: Path) -> None:
    suite = write_suite(
        tmp_path / "s.toml", devices=["pixel-3"], policy='measure = ["accuracy"]', limit=20
    )
    result = harness.run(suite, store=f"sqlite:///{tmp_path}/r.db")
    assert "cenario" not in result.text() + result.text("markdown")
    assert 'id="scenarios"' not in html.render(result.view)
    done = cli("scenarios", "--store", "sqlite:///r.db")
    assert done.returncode == 2 and "has no scenarios" in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (policy(["server"]), "scenario server needs target_qps"),
        (policy(["server(target_qps=0, latency_bound_ms=1)"]), "target_qps is 0.001 to"),
        (policy(["offline", "offline"]), "1 to 16 different ones"),
        (policy(["offline"], ("latency",)), "scenarios are named and not measured"),
    ],
)
def test_bad_suites(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"s\.toml:\d+") as caught:
        load_suite(write_suite(tmp_path / "s.toml", policy=text), known_names())
    assert words in str(caught.value)


def test_what_a_device_cannot_do_costs_the_job_nothing_else(tmp_path: Path) -> None:
    suite = write_suite(
        tmp_path / "s.toml", devices=["pixel-3"],
        policy=policy([ALL[0], f"offline({SHORT}, loadgen=true)"]),
    )  # fmt: skip
    result = harness.run(suite, store=f"sqlite:///{tmp_path}/r.db")
    (job,) = result.view.jobs
    assert [found["verdict"] for found in job.facts["scenarios"]] == ["VALID", "unsupported"]
    assert "loadgen reads this machine's clock" in job.facts["scenarios"][1]["reasons"][0]


def test_resuming_repeats_no_scenario(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/r.db"
    suite = write_suite(tmp_path / "s.toml", devices=["pixel-3"], policy=policy(ALL[:3]))
    stop = Stop()

    def tell(event: Any) -> None:
        if isinstance(event, TrialEnded) and event.stage is Stage.SCENARIOS:
            stop.request()

    first = harness.run(suite, store=store, tell=tell, stop=stop)
    assert first.outcome and first.outcome.interrupted
    result = harness.run(resume=first.id, store=store)
    (job,) = result.view.jobs
    trials = [t for t in result.view.store.trials(job.id) if t.purpose == "scenarios"]
    assert [trial.index for trial in trials] == [0, 1, 2]
    assert {trial.status for trial in trials} == {TrialStatus.OK}
    assert [found["scenario"] for found in job.facts["scenarios"]] == ALL[:3]


def test_ours_and_loadgens_agree(tmp_path: Path) -> None:
    """On this machine for real; loadgen's own summary and verdict are kept."""
    if importlib.util.find_spec("mlperf_loadgen") is None:
        needed("no mlcommons-loadgen")
    text = "single_stream(min_seconds=0.4{})"
    asked = policy([text.format(""), text.format(", loadgen=true")])
    suite = write_suite(tmp_path / "s.toml", devices=["local"], policy=asked)
    view = harness.run(suite, store=f"sqlite:///{tmp_path}/r.db").view
    ours, theirs = rows(view.jobs)
    assert (ours["measured_by"], theirs["measured_by"][:8]) == ("agent", "loadgen ")
    (file,) = write_summaries(view, tmp_path / "kept")
    summary = file.read_text()
    assert f"Result is : {theirs['verdict']}" in summary and "MLPerf Results Summary" in summary
    ratio = ours["value"] / theirs["value"]
    print(f"p90 of single stream, ours over loadgen's: {ratio:.3f}")
    assert 0.1 < ratio < 10
