"""``harness operators`` and the report's pictures, over simulated devices."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import harness
from harness.cli.main import app
from harness.errors import UsageError
from tests.support import write_suite

Cli = Callable[..., subprocess.CompletedProcess[str]]
Shown = Callable[..., str]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, digits: dict[str, Path]) -> str:
    """Two runs with profiles, and one without, on a Raspberry Pi and an Edge TPU."""
    folder = tmp_path_factory.mktemp("operators")
    url = f"sqlite:///{folder}/h.db"
    for seed, measure in ((0, '"latency"'), (1, '"latency", "operators"'), (2, '"operators"')):
        suite = write_suite(
            folder / f"{seed}.toml", devices=["raspberry-pi-4", "coral-usb"],
            recipes=["float32", "int8", "int16x8"], limit=20,
            policy=f"measure = [{measure}]\nseed = {seed}\n",
        )  # fmt: skip
        harness.run(suite, store=url)
    return url


@pytest.fixture
def shown(store: str, monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What the command prints, in this process: starting one takes longer than the command."""
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, ["operators", "--store", store, *arguments])
        if done.exception is not None:
            raise done.exception
        return done.stdout

    return run


@pytest.fixture
def runs(store: str) -> list[str]:
    """The ids, oldest first."""
    return [run.id for run in reversed(harness.load(store=store).view.store.runs())]


def test_modelled_operators_add_up_to_the_modelled_latency(shown: Shown, runs: list[str]) -> None:
    made = json.loads(shown(runs[1], "--format", "json"))
    rows = {(row["device"], row["recipe"]): row for row in made}
    assert len(rows) == 6
    for key, row in rows.items():
        if key[0] == "coral-usb" and key[1] != "int8":
            assert "full-integer" in row["reason"]
            continue
        assert row["kind"] == "simulated" and row["statistic"] == "midmean"
        assert sum(item["time_ms"] for item in row["operators"]) == pytest.approx(row["sum_ms"])
        assert row["operators"][-1]["cumulative"] == pytest.approx(1)
        assert all(item["node"] is not None and item["shape"] for item in row["operators"])
        assert row["unseen_count"] == row["near_clock_step"] == 0
        # Within the noise of one trial; the rest is the invoke call's own overhead.
        assert row["profiled_ms"] == pytest.approx(row["unprofiled_median_ms"], rel=0.15)
        assert row["sum_ms"] < row["profiled_ms"]
    pi = rows["raspberry-pi-4", "float32"]
    assert pi["sum_ms"] > 0.9 * pi["profiled_ms"] and not pi["operators"][0]["delegated"]
    tpu = rows["coral-usb", "int8"]
    assert all(item["delegated"] for item in tpu["operators"])


def test_modelled_profiles_repeat_exactly(shown: Shown, runs: list[str], tmp_path: Path) -> None:
    suite = write_suite(
        tmp_path / "again.toml", devices=["raspberry-pi-4"], recipes=["int8"], limit=20,
        policy='measure = ["latency", "operators"]\nseed = 1\n',
    )  # fmt: skip
    again = harness.run(suite, store=f"sqlite:///{tmp_path}/h.db").profiles()[0].profile
    made = shown(runs[1], "--recipe", "int8", "--device", "raspberry-pi-4", "--format", "json")
    assert again is not None and again.sum_ns == pytest.approx(
        json.loads(made)[0]["sum_ms"] * 1e6, rel=1e-12
    )


def test_the_table_lines_up_within_100_columns(cli: Cli, store: str, runs: list[str]) -> None:
    done = cli("operators", runs[1], "--top", "3", "--recipe", "int16x8", "--store", store,
               env={"COLUMNS": "100"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    head = next(line for line in lines if line.startswith("operator"))
    rows = [line for line in lines if re.match(r"[A-Z_2D]+ +\.\.\.", line)]
    assert len(rows) == 3 and "3 of 10 operators" in done.stdout
    for name in ("shape", "type", "deleg."):
        at = head.index(name)
        assert all(line[at - 1] == " " and line[at] != " " for line in rows)
    for name in ("ms", "cum %"):
        end = head.index(f" {name}") + 1 + len(name)
        assert all(line[end - 1] != " " and line[end : end + 1] in ("", " ") for line in rows)
    assert "simulated" in done.stdout and "by type" in done.stdout
    assert "no profile: unsupported at load: coral-usb: an Edge TPU" in done.stdout


def test_csv_and_markdown(shown: Shown, runs: list[str]) -> None:
    rows = list(csv.DictReader(io.StringIO(shown(runs[1], "--format", "csv"))))
    assert len(rows) == 8 + 8 + 10 + 8
    first = [float(row["time_ms"]) for row in rows[:8]]
    assert first == sorted(first, reverse=True) and first[-1] > 0
    assert "1x8x8x48" in {row["shape"] for row in rows if row["type"] == "CONV_2D"}
    text = shown(runs[1], "--format", "markdown", "--device", "raspberry-pi-4", "--top", "2")
    assert text.count("| CONV\\_2D | digits\\_cnn/re\\_lu\\_1/Relu |") == 3
    pairs = shown(runs[1], "--recipe", "float32", "--against-recipe", "int8", "--format", "csv")
    assert len(list(csv.DictReader(io.StringIO(pairs)))) == 8
    text = shown(runs[1], "--recipe", "float32", "--against-recipe", "int8", "--format", "markdown")
    assert "### digits/float32 on raspberry-pi-4" in text


def test_recipes_are_compared_operator_by_operator(shown: Shown, runs: list[str]) -> None:
    chosen = ("--device", "raspberry-pi-4", "--recipe", "float32", "--against-recipe", "int16x8")
    table = shown(runs[1], *chosen)
    assert max(map(len, table.splitlines())) <= 100
    assert "only in head: 2 operators" in table and "recipe float32 / int16x8" in table
    (made,) = json.loads(shown(runs[1], *chosen, "--format", "json"))
    differences = [abs(pair["difference_ms"]) for pair in made["operators"]]
    assert differences == sorted(differences, reverse=True)
    assert [p["type"] for p in made["operators"] if p["only"] == "head"] in (
        ["QUANTIZE", "DEQUANTIZE"], ["DEQUANTIZE", "QUANTIZE"],
    )  # fmt: skip
    assert sum(p["difference_ms"] for p in made["operators"]) == pytest.approx(
        made["difference_ms"]
    )


def test_runs_are_compared(shown: Shown, runs: list[str]) -> None:
    made = json.loads(shown(runs[1], "--against", runs[2], "--format", "json"))
    assert len(made) == 4 and all(not pair["differences"] for pair in made)
    assert all(0.8 < p["ratio"] < 1.25 for pair in made for p in pair["operators"] if p["ratio"])


def test_what_cannot_be_compared_is_refused(
    shown: Shown, cli: Cli, runs: list[str], store: str, tmp_path: Path
) -> None:
    other = write_suite(
        tmp_path / "real.toml", devices=["native"], recipes=["int8"], limit=5,
        device='[device.native]\ntransport = "local"\nagent = "native"\n',
        policy='measure = ["operators"]\n',
    )  # fmt: skip
    real = harness.run(other, store=store).id
    chosen = (runs[1], "--against", real, "--device", "raspberry-pi-4", "--against-device",
              "native", "--recipe", "int8", "--against-backend", "cpu x1")  # fmt: skip
    done = cli("operators", *chosen, "--store", store)
    assert done.returncode == 2 and "is simulated and digits/int8 on native" in done.stderr
    assert "--across-kinds" in done.stderr
    assert "kind simulated / real" in shown(*chosen, "--across-kinds")
    for arguments, words in (
        ((runs[0],), 'measure = ["latency", "accuracy", "operators"]'),
        ((runs[1], "--recipe", "int4"), "float32, int16x8, int8"),
        ((runs[1], "--against", runs[0]), "has no profiles: it measured latency"),
        ((runs[1], "--device", "coral-usb", "--recipe", "int8", "--against-recipe", "float32"),
         "full-integer models only"),
        ((runs[1], "--format", "xml"), "unknown format"),
    ):  # fmt: skip
        with pytest.raises(UsageError) as caught:
            shown(*arguments)
        assert words in str(caught.value)


def test_the_report_has_a_picture_per_profiled_job(runs: list[str], store: str) -> None:
    from harness.reports import html

    page = html.render(harness.load(runs[1], store=store).view)
    figures = [
        json.loads(text)
        for text in re.findall(r'data-chart="operators-\d+">(.*?)</script>', page, re.S)
    ]
    assert len(figures) == 4
    bars = [trace for trace in figures[0]["data"] if trace["type"] == "bar"]
    assert [trace["name"] for trace in bars] == ["by the runtime itself"]
    assert figures[-1]["data"][0]["name"] == "delegated"
    assert "of the unprofiled median" in page and "full-integer" in page
    assert '<section id="operators">' not in html.render(harness.load(runs[0], store=store).view)
