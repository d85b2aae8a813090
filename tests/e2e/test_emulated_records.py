"""Records of an emulated processor: accuracy and output checks count, time does not."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.sshd import Sshd

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_an_emulated_device_has_accuracy_and_no_latency(
    sshd: Sshd, suite_file: Callable[..., Path], cli: Cli
) -> None:
    suite = suite_file(
        devices=["board"], device=sshd.device("board", kind="emulated"), recipes=["float32", "int8"]
    )
    done = cli("run", str(suite), "--trials", "1", "--report", "report.html")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("emulated, not a latency") == 2
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "few_trials" not in done.stdout
    rows = json.loads(cli("table", "last", "--format", "json").stdout)
    for row in rows:
        assert row["kind"] == "emulated" and row["accuracy"] > 0.9 and row["samples"] > 100
        for column in ("latency_median_ms", "latency_p95_ms", "init_ms", "first_inference_ms",
                       "memory_peak_mb", "trials"):  # fmt: skip
            assert row[column] is None, column
    report = (suite.parent / "report.html").read_text()
    assert "emulated, not a latency" in report
    assert "latency, ms (emulated)" not in report and "median ms (emulated)" not in report


def test_a_search_for_speed_on_an_emulated_device_is_refused(tmp_path: Path, cli: Cli) -> None:
    profiles = tmp_path / "edge-harness" / "devices"
    profiles.mkdir(parents=True)
    (profiles / "board.toml").write_text('transport = "ssh"\nhost = "board"\nkind = "emulated"\n')
    done = cli(
        "search", "builtin:digits_cnn", "--data", "digits", "--device", "board",
        env={"XDG_CONFIG_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "--minimize size" in done.stderr
