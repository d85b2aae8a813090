"""``harness run --simulate``: a suite of real devices on the simulations of their profiles."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.devices import find_device, simulated_devices
from harness.config.suites import load_suite
from harness.domain import Backend, DeviceKind
from harness.errors import UsageError
from harness.orchestrate.environment import known_names
from harness.orchestrate.rehearsal import AGENT_SECONDS, LINK_MBS, rehearsed
from harness.reports import rehearsal
from harness.transports import TRANSPORTS
from tests.support import write_suite

Cli = Callable[..., subprocess.CompletedProcess[str]]

BOARD = """
[device.board]
transport = "ssh"
host = "board.invalid"
default_backend = "cpu x4"
simulate_as = "raspberry-pi-4"
"""


def test_a_night_before_the_night(cli: Cli, tmp_path: Path, digits: dict[str, Path]) -> None:
    suite = write_suite(
        tmp_path / "suite.toml", devices=["board"], recipes=["float32", "int8"], trials=2,
        device=BOARD, policy="cooldown_seconds = 100.0",
    )  # fmt: skip
    done = cli("run", str(suite), "--simulate", "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["kind"] for row in found["rows"]] == ["simulated"] * 2
    assert all(row["device"] == "board" and row["profile"] for row in found["rows"])
    night = found["rehearsal"]
    device = night["devices"]["board"]
    assert device["trials"] == 2 * (2 + 1)
    # Four latency trials with their cooldowns, six agents, and what is modelled beside.
    least = 4 * 100 + 6 * AGENT_SECONDS
    assert least < device["seconds"] < least + 60
    assert night["seconds"] == device["seconds"] and night["failed"] == 0
    assert device["bytes"] > sum(row["size_bytes"] for row in found["rows"])
    assert device["push_seconds"] == round(device["bytes"] / 1e6 / LINK_MBS["ssh"], 1)
    idle = find_device("raspberry-pi-4", TRANSPORTS).simulation["idle_w"]
    assert device["joules"] >= idle * least


def test_who_stands_for_whom(tmp_path: Path, digits: dict[str, Path]) -> None:
    known = known_names()
    path = write_suite(tmp_path / "suite.toml", devices=["board"], device=BOARD)
    suite = load_suite(path, known)
    simulated = simulated_devices(TRANSPORTS)
    (board,) = suite.devices
    (found,) = rehearsed(suite, simulated).devices
    assert (found.name, found.kind) == ("board", DeviceKind.SIMULATED)
    assert found.simulation == simulated["raspberry-pi-4"].simulation

    def of(device: object) -> None:
        rehearsed(replace(suite, devices=(device,)), simulated)  # type: ignore[arg-type]

    of(replace(board, link={}, name="pixel-3"))
    of(replace(board, link={}, title="Pixel 3"))
    with pytest.raises(UsageError, match="does not name a simulated device") as error:
        of(replace(board, link={}))
    assert "raspberry-pi-4" in str(error.value.hint)
    with pytest.raises(UsageError, match="simulate_as = 'x' is no simulated device"):
        of(replace(board, link={"simulate_as": "x"}))
    with pytest.raises(UsageError, match="cannot rehearse edgetpu"):
        of(replace(board, default_backend=Backend("edgetpu", 1)))


def test_a_device_without_a_simulation_is_told(
    cli: Cli, tmp_path: Path, digits: dict[str, Path]
) -> None:
    own = '\n[device.odd]\ntransport = "local"\ntitle = "an odd machine"\n'
    suite = write_suite(tmp_path / "suite.toml", devices=["odd"], device=own)
    done = cli("run", str(suite), "--simulate")
    assert done.returncode == 2 and 'simulate_as = "NAME"' in done.stderr
    assert "pixel-3" in done.stderr and not (tmp_path / "results").exists()


def test_this_machine_can_be_rehearsed(cli: Cli, tmp_path: Path, digits: dict[str, Path]) -> None:
    done = cli("run", str(write_suite(tmp_path / "suite.toml")), "--simulate", "--format", "json")
    assert done.returncode == 0, done.stderr
    assert {row["kind"] for row in json.loads(done.stdout)["rows"]} == {"simulated"}


def test_a_plan_is_no_rehearsal(cli: Cli, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite.toml", devices=["pixel-3"])
    done = cli("run", str(suite), "--simulate", "--dry-run")
    assert done.returncode == 2 and "leave one of them out" in done.stderr


def test_faults_are_for_no_rehearsal(cli: Cli, tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite.toml", devices=["pixel-3"])
    done = cli("run", str(suite), "--simulate", "--fault", "pixel-3: crash")
    assert done.returncode == 2 and "rehearses a night without faults" in done.stderr


def test_no_cooldown_follows_a_check_and_runners_count_each(
    cli: Cli, tmp_path: Path, digits: dict[str, Path]
) -> None:
    """Where no accuracy is measured, a sweep checks the outputs; the tool's job is its own."""
    tool = tmp_path / "benchmark_model"
    tool.write_text("never run")
    rows = {}
    for name, backends in (
        ("one", '["cpu x4"]'),
        ("two", '["cpu x4", "cpu x4 (runner=benchmark_model)"]'),
    ):
        path = write_suite(
            tmp_path / f"{name}.toml", devices=["board"], trials=2,
            device=BOARD + f'benchmark_model = "{tool}"\n',
            policy='cooldown_seconds = 100.0\nmeasure = ["latency"]',
        )  # fmt: skip
        path.write_text(f"backends = {backends}\n" + path.read_text())
        done = cli("run", str(path), "--simulate", "--format", "json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert len(found["rows"]) == 1
        rows[name] = found["rehearsal"]["devices"]["board"]
    # Two latency trials with their cooldowns, a check without.
    assert rows["one"]["trials"] == 3
    assert 200 < rows["one"]["seconds"] < 250
    assert rows["two"]["trials"] == 6
    assert 400 < rows["two"]["seconds"] < 500
    assert rows["two"]["joules"] > 1.9 * rows["one"]["joules"]


def test_one_job_is_no_jobs() -> None:
    row = {"trials": 1, "seconds": 5.0, "bytes": 1, "joules": None}
    assumed = {"link_mb_per_s": {}, "agent_start_seconds": 1.0}
    for failed, said in ((1, "1 job without numbers"), (2, "2 jobs without numbers")):
        night = {**row, "devices": {"board": row}, "assumed": assumed, "failed": failed}
        assert rehearsal.text(night).endswith(f"not counted: {said}")
