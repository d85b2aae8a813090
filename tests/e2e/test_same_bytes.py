"""Simulated devices: same suite and seed, same bytes, whatever the order and the interruptions."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from harness.api.runs import RunResult, load
from harness.config.suites import load_suite
from harness.domain import Suite, TrialStatus
from harness.orchestrate.environment import known_names
from harness.orchestrate.events import Event, TrialEnded
from harness.orchestrate.lanes import Lanes
from harness.orchestrate.plan import make_plan
from harness.orchestrate.run import execute
from harness.orchestrate.stop import Stop
from harness.store import Store
from tests.support import write_suite

DEVICES = ["raspberry-pi-4", "pixel-3", "coral-usb", "hot-phone"]

#: On its GPU, of a metal so thin that it throttles within milliseconds, on a battery.
HOT_PHONE = """
[device.hot-phone]
transport = "simulated"
accelerators = ["gpu"]

[device.hot-phone.simulation]
cores = 4
init_ms = 3.0
init_ms_per_mb = 4.0
memory_mb = 34.0
noise_percent = 3.0
trial_noise_percent = 2.0
gpu_init_ms = 350.0
idle_w = 1.0
load_w = 6.0
gpu_w = 4.0
ambient_c = 25.0
thermal_resistance_kw = 10.0
heat_capacity_jk = 0.004
throttle_c = 50.0
clock_mhz = 2000.0
throttled_mhz = 1000.0
min_mhz = 500.0
governor = "schedutil"
governors = ["schedutil", "performance"]
battery_percent = 20.0
battery_wh = 0.01

[device.hot-phone.prediction]
cores = [{ type = "cortex-a75", count = 4, ghz = 2.0 }]
memory_gbs = 15.0
source = "a test"
gpu = { type = "test", float_gmacs = 700.0, int8_gmacs = 700.0 }
"""


@pytest.fixture
def suite(tmp_path: Path, digits: dict[str, Path]) -> Suite:
    path = write_suite(
        tmp_path / "suite.toml", devices=DEVICES, recipes=["float32", "int8"], trials=5,
        policy='max_trials = 8\nprecision = 0.002\ngovernor = "performance"', device=HOT_PHONE,
    )  # fmt: skip
    return load_suite(path, known_names())


def exported(result: RunResult) -> dict[str, str]:
    """Every machine-readable format, without the run's own name."""
    return {name: result.text(name).replace(result.id, "RUN") for name in ("csv", "json")}


def whole(suite: Suite, path: Path, at_once: int) -> dict[str, str]:
    with Store(f"sqlite:///{path}") as store:
        runner = partial(Lanes, simulated_at_once=at_once)
        outcome = execute(store, plan=make_plan(suite), runner=runner)
        assert outcome.exit_code == 0
        return exported(load(outcome.run, store=store))


class StopAfter:
    """A listener that wants to stop once so many trials have ended."""

    def __init__(self, trials: int) -> None:
        self.stop, self._left = Stop(), trials

    def __call__(self, event: Event) -> None:
        self._left -= isinstance(event, TrialEnded)
        if self._left <= 0:
            self.stop.request()


def in_pieces(suite: Suite, path: Path, trials: int) -> dict[str, str]:
    """Interrupted after so many trials, over and over."""
    with Store(f"sqlite:///{path}") as store:
        run, pieces, before = None, 0, 0
        while True:
            tell = StopAfter(trials)
            plan = make_plan(suite) if run is None else None
            outcome = execute(store, plan=plan, resume=run, tell=tell, stop=tell.stop)
            run, pieces = outcome.run, pieces + 1
            ended = [t for job in store.jobs(run) for t in store.trials(job.id) if t.status == "ok"]
            assert len(ended) > before  # what had ended was kept
            before = len(ended)
            if not outcome.interrupted:
                break
        assert pieces > 2
        kept = [t.status for job in store.jobs(run) for t in store.trials(job.id)]
        assert TrialStatus.RUNNING not in kept
        return exported(load(run, store=store))


def test_exports_are_the_same_bytes(suite: Suite, tmp_path: Path) -> None:
    first = whole(suite, tmp_path / "first.db", 1)
    assert first["csv"].count("\n") >= 6 and '"kind": "simulated"' in first["json"]
    assert '"profile": null' not in first["json"]  # of jobs that failed too
    assert '"backend": "gpu"' in first["json"] and "frequency_changed" in first["json"]
    assert "low_battery" in first["json"]
    assert whole(suite, tmp_path / "side_by_side.db", 3) == first
    assert in_pieces(suite, tmp_path / "in_pieces.db", 9) == first
