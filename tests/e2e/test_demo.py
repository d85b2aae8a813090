"""The main job: five recipes on one real and three simulated devices."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import harness
from harness.reports import COLUMNS

Cli = Callable[..., subprocess.CompletedProcess[str]]
RECIPES = ["float32", "float16", "dynamic_int8", "int8", "int16x8"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, digits: dict[str, Path]) -> harness.RunResult:
    folder = tmp_path_factory.mktemp("demo")
    return harness.run("demo", store=f"sqlite:///{folder}/harness.db")


def test_every_variant_on_every_device(demo: harness.RunResult) -> None:
    assert demo.outcome is not None and demo.outcome.exit_code == 0
    table = demo.table()
    assert list(table.columns[: len(COLUMNS)]) == list(COLUMNS)
    assert len(table) == 20
    assert list(table[table.device == "local"].recipe) == RECIPES
    assert set(table[table.device == "local"].kind) == {"real"}
    assert set(table[table.device != "local"].kind) == {"simulated"}


def test_numbers_make_sense(demo: harness.RunResult) -> None:
    table = demo.table().set_index(["device", "recipe"])
    ok = table[table.status == "ok"]
    assert (ok.accuracy > 0.9).all()
    assert (ok.accuracy_low < ok.accuracy).all() and (ok.accuracy < ok.accuracy_high).all()
    assert (ok.samples == 697 - 0).all() or ok.samples.nunique() == 1
    assert (ok.latency_low_ms <= ok.latency_median_ms).all()
    assert (ok.latency_median_ms <= ok.latency_high_ms).all()
    assert (ok.trials == 3).all() and (ok.runs >= 150).all()
    assert (ok.memory_peak_mb > 5).all()
    assert ok.loc[("local", "float16"), "size_ratio"] == pytest.approx(0.5, abs=0.02)
    assert ok.loc[("local", "int8"), "size_ratio"] < 0.3
    assert ok.loc[("local", "float32"), "speed_up"] == 1
    for recipe in RECIPES:  # the accuracy of a simulated device is really computed
        assert (
            ok.loc[("raspberry-pi-4", recipe), "accuracy"] == ok.loc[("local", recipe), "accuracy"]
        )


def test_an_edge_tpu_runs_integer_models_only(demo: harness.RunResult) -> None:
    coral = demo.table().query("device == 'coral-usb'").set_index("recipe")
    assert coral.loc["int8", "status"] == "ok"
    for recipe in set(RECIPES) - {"int8"}:
        assert coral.loc[recipe, "status"] == "unsupported"
        assert "full-integer" in coral.loc[recipe, "error"]


def test_advisories_of_the_demo(demo: harness.RunResult) -> None:
    for row in demo.rows():
        expected = row["recipe"] == "int16x8" and row["status"] == "ok"
        assert ("reference_kernels" in row["advisories"]) == expected
        assert "outputs_differ" not in row["advisories"]


def test_the_table_fits_and_says_what_it_is(demo: harness.RunResult) -> None:
    text = demo.text("table", width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "LIGHTER than the default" in text
    assert "simulated: modelled latency" in text and "real: measured" in text
    for word in ("notes", "top-1 %", "speed"):
        assert text.count(word) >= 4


def test_simulated_numbers_repeat_exactly(
    demo: harness.RunResult, tmp_path: Path, digits: dict[str, Path]
) -> None:
    again = harness.run(
        "demo", devices=["pixel-3"], recipes=["int8", "float32"], store=f"sqlite:///{tmp_path}/b.db"
    )
    first = {r["recipe"]: r for r in demo.rows() if r["device"] == "pixel-3"}
    for row in again.rows():
        for key in set(COLUMNS) - {"run"}:
            assert row[key] == first[row["recipe"]][key], key


def test_run_table_export_and_report_from_the_command_line(
    cli: Cli, tmp_path: Path, digits: dict[str, Path]
) -> None:
    ran = cli("run", "demo", "-d", "pixel-3", "-r", "int8", "-r", "float32", "--trials", "2",
              "--format", "json")  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(ran.stdout)
    assert [tuple(row) for row in rows] == [(*COLUMNS, "confusion")] * 2
    assert {row["recipe"] for row in rows} == {"int8", "float32"} and rows[0]["trials"] == 2
    report = ran.stderr.split("report: ")[1].strip()
    assert Path(report).read_text().startswith("<!doctype html>")
    run = rows[0]["run"]
    assert (tmp_path / "results" / "harness.db").exists()
    assert run in cli("runs").stdout
    assert json.loads(cli("runs", "--format", "json").stdout)[0]["run"] == run
    assert run in cli("table", run[:16]).stdout
    assert json.loads(cli("export", run, "--format", "json").stdout) == rows
    lines = cli("export", "--format", "csv").stdout.splitlines()
    assert lines[0].split(",") == list(COLUMNS) and len(lines) == 3
    assert "| int8 |" in cli("export", "--format", "markdown").stdout
    assert cli("export", "--format", "parquet").returncode == 2
    assert cli("export", "--format", "parquet", "-o", "rows.parquet").returncode == 0
    import pandas as pd

    assert list(pd.read_parquet(tmp_path / "rows.parquet")["recipe"]) == ["int8", "float32"]
    made = cli("report", "-o", "page.html")
    assert made.returncode == 0 and (tmp_path / "page.html").stat().st_size > 1_000_000


def test_a_dry_run_touches_nothing(cli: Cli, tmp_path: Path, digits: dict[str, Path]) -> None:
    done = cli("run", "demo", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "demo: 20 jobs" in done.stdout and "estimated time" in done.stdout
    assert "raspberry-pi-4: about" in done.stdout
    assert not (tmp_path / "results").exists()
    plan = json.loads(cli("run", "demo", "--dry-run", "--format", "json").stdout)
    assert len(plan["jobs"]) == 20 and plan["bytes_to_push"]["local"] > 500_000
    assert plan["seconds"] > 0 and plan["variants"] == 5


def test_help_is_instant_and_light() -> None:
    import sys

    code = (
        "import sys\nfrom harness.cli.main import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'tensorflow', 'paramiko', 'pandas', 'numpy', 'sqlalchemy', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Run a suite" in done.stdout and done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("run", "demox"), 2, "did you mean 'demo'?"),
        (("run",), 2, "give either a suite"),
        (("run", "demo", "-d", "pixel-33"), 2, "did you mean 'pixel-3'?"),
        (("run", "demo", "-r", "int9"), 2, "did you mean 'int8'?"),
        (("run", "demo", "--format", "xml"), 2, "unknown format"),
        (("run", "demo", "--store", "nowhere"), 2, "not a store URL"),
        (("run", "demo", "--trials", "0"), 2, "--trials"),
        (("table",), 2, "there is no store"),
        (("run", "--resume", "x"), 2, "there is no store"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_wrong_usage_is_exit_code_2_without_a_traceback(
    cli: Cli, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = cli(*arguments)
    assert done.returncode == code
    assert said in done.stderr.replace("\n", " ") and "Traceback" not in done.stderr
    assert done.stdout == ""
