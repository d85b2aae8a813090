"""``harness doctor``: what is wrong with a device, and the fix."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.config.suites import load_suite
from harness.devices.accelerators import plugged_in
from harness.devices.doctor import _clock, examine
from harness.devices.session import Session
from harness.devices.state import parse_state
from harness.domain import Check, Mark
from harness.orchestrate import acceptance
from harness.orchestrate.environment import known_names
from harness.orchestrate.set_up import examine_set_up
from tests.support import harness_command, write_suite
from tests.support.adb import Adb, start_android
from tests.support.android import started
from tests.support.benchmark_model import write_tool
from tests.support.boards import PHONE, Board
from tests.support.coral import BEFORE_FIRMWARE, fake_library, plug_usb
from tests.support.sshd import Sshd

Cli = Callable[..., subprocess.CompletedProcess[str]]


def checks(tmp_path: Path, table: str) -> dict[str, Check]:
    suite = write_suite(tmp_path / "suite.toml", devices=["board"], device=table)
    return {check.name: check for check in examine(load_suite(suite, known_names()).devices[0])}


def test_a_board_that_is_well(tmp_path: Path, sshd: Sshd) -> None:
    found = checks(tmp_path, sshd.device("board"))
    assert found["reachable"].mark is found["push"].mark is Mark.GOOD
    assert "ai_edge_litert" in found["runtime"].found and found["runtime"].mark is Mark.GOOD
    assert {"clock", "disk", "processors", "governor", "temperature", "other load", "libc",
            "timer"} <= set(found)  # fmt: skip
    assert found["clock"].mark is Mark.GOOD


def test_a_board_that_is_not_there(tmp_path: Path, sshd: Sshd) -> None:
    sshd.stop()
    found = checks(tmp_path, sshd.device("board"))
    assert list(found) == ["reachable"] and found["reachable"].mark is Mark.BAD
    assert "is it switched on" in found["reachable"].fix


def test_a_board_that_lacks_things(tmp_path: Path, sshd: Sshd) -> None:
    bare = tmp_path / "bare-python"
    bare.write_text('#!/bin/sh\nexec python3 -I -S "$@"\n')
    bare.chmod(0o700)
    table = sshd.device("board", python=str(bare)) + 'accelerators = ["cpu", "edgetpu"]\n'
    found = checks(tmp_path, table)
    assert found["runtime"].mark is Mark.BAD and "NumPy" in found["runtime"].found
    assert "pip install" in found["runtime"].fix
    assert found["edgetpu library"].mark is Mark.BAD
    assert "libedgetpu1-std" in found["edgetpu library"].fix


def test_a_coral_that_cannot_work_is_no_green_one(tmp_path: Path, sshd: Sshd) -> None:
    """The library is named and not there; nothing is plugged in, or that cannot be seen."""
    coral = 'accelerators = ["edgetpu"]\nedgetpu = "usb:9"\n'
    named = coral + 'edgetpu_library = "/opt/nothing/libedgetpu.so.1.0"\n'
    here = checks(tmp_path, '[device.board]\ntransport = "local"\n' + named)
    there = checks(tmp_path, sshd.device("board") + named)
    for found in (here, there):
        assert found["edgetpu library"].mark is Mark.BAD
        assert "/opt/nothing/libedgetpu.so.1.0 does not load" in found["edgetpu library"].found
    assert here["edgetpu"].mark is Mark.BAD and "usb:9 is not plugged in" in here["edgetpu"].found
    assert there["edgetpu"].mark is Mark.UNKNOWN and "usb:9" in there["edgetpu"].found


def test_a_coral_that_can_work(tmp_path: Path) -> None:
    plug_usb(tmp_path, "2-1", BEFORE_FIRMWARE, 5)
    suite = write_suite(
        tmp_path / "suite.toml", devices=["board"],
        device='[device.board]\ntransport = "local"\naccelerators = ["edgetpu"]\n'
        f'edgetpu = "usb:0"\nedgetpu_library = "{fake_library(tmp_path)}"\n',
    )  # fmt: skip
    device = load_suite(suite, known_names()).devices[0]
    library = next(check for check in examine(device) if check.name == "edgetpu library")
    assert library.mark is Mark.GOOD, library
    found = plugged_in(device, tmp_path)
    assert found is not None and found.mark is Mark.GOOD and "usb:0" in found.found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#!/bin/sh\n", "benchmark_model does not run there"),
        ("\x7fELF of another machine", "benchmark_model does not run there"),
        ("https://127.0.0.1:1/benchmark_model", "cannot fetch benchmark_model"),
    ],
)
def test_a_benchmark_model_that_cannot_work(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "tool"
    table = f'[device.board]\ntransport = "local"\nbenchmark_model = "{path}"\n'
    if text.startswith("https"):
        table = table.replace(str(path), text) + f'benchmark_model_sha256 = "{"0" * 64}"\n'
    else:
        path.write_text(text)
    found = checks(tmp_path, table)["benchmark_model"]
    assert found.mark is Mark.BAD and said in found.found, found


def test_a_benchmark_model_that_works(tmp_path: Path) -> None:
    table = f'[device.board]\ntransport = "local"\nbenchmark_model = "{write_tool(tmp_path)}"\n'
    found = checks(tmp_path, table)["benchmark_model"]
    assert found.mark is Mark.GOOD and "sha256:" in found.found


def test_a_board_that_another_session_holds(tmp_path: Path, sshd: Sshd) -> None:
    table = sshd.device("board")
    suite = write_suite(tmp_path / "suite.toml", devices=["board"], device=table)
    with Session(load_suite(suite, known_names()).devices[0], "a colleague"):
        found = checks(tmp_path, table)
    assert list(found) == ["free"] and "a colleague" in found["free"].found


def test_a_phone_that_is_warm_and_empty(
    tmp_path: Path, sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(
        tmp_path / "sys",
        {
            **PHONE,
            "class/thermal/thermal_zone1/temp": "83000",
            "class/power_supply/battery/capacity": "9",
            "devices/system/cpu/cpu7/cpufreq/scaling_max_freq": "1401600",
        },
    )
    table = sshd.device("board")
    suite = write_suite(tmp_path / "suite.toml", devices=["board"], device=table)
    device = load_suite(suite, known_names()).devices[0]
    monkeypatch.setattr(
        type(Session(device, "").transport), "run", lambda _, *a, **k: board.run(*a, **k)
    )
    found = {check.name: check for check in examine(device)}
    assert found["temperature"].mark is Mark.WARNING and "83 °C" in found["temperature"].found
    assert found["battery"].mark is Mark.WARNING and "9 %, discharging" in found["battery"].found
    assert "2 big (6-7) and 6 little (0-5)" in found["processors"].found
    assert "held at 1.40 of 2.80 GHz" in found["frequency"].found
    assert found["governor"].mark is Mark.WARNING and "tee" in found["governor"].fix


def test_a_phone_gets_no_fix_that_only_a_board_has(adb: Adb) -> None:
    with start_android(adb.key) as target:
        device = adb.directly(target)
        found = {check.name: check for check in examine(device)}
    assert found["governor"].mark is Mark.WARNING and "rooted" in found["governor"].fix
    (clock,) = _clock(device, parse_state("clock 7\n"))
    assert clock.mark is Mark.WARNING and "settings" in clock.fix
    assert not [check for check in (*found.values(), clock) if "sudo" in check.fix]


def test_the_command(cli: Cli) -> None:
    done = cli("doctor", "local", "pixel-3")
    assert done.returncode == 0, done.stderr
    assert "✓ reachable" in done.stdout and max(map(len, done.stdout.splitlines())) <= 100
    rows = json.loads(cli("doctor", "local", "--format", "json").stdout)
    assert {"device": "local", "name": "reachable", "mark": "good"}.items() <= rows[0].items()
    assert cli("doctor", "nowhere").returncode == 2


def test_this_machine(cli: Cli) -> None:
    found = {check.name: check for check in examine_set_up()}
    assert found["runtime"].mark is Mark.GOOD and found["convert"].mark is Mark.GOOD
    bare = cli("doctor", env={"PATH": "/nonexistent"})
    assert bare.returncode == 0 and "? adb" in bare.stdout and "apt install adb" in bare.stdout


def test_devices_of_a_suites_own(tmp_path: Path, sshd: Sshd, cli: Cli) -> None:
    suite = write_suite(tmp_path / "suite.toml", devices=["board"], device=sshd.device("board"))
    done = cli("doctor", "--suite", str(suite), "board")
    assert done.returncode == 0 and "✓ reachable" in done.stdout, done
    assert cli("doctor", "--suite", str(suite)).returncode == 2


def _with_profile(tmp_path: Path, name: str, text: str) -> dict[str, str]:
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / f"{name}.toml").write_text(text)
    return {"HARNESS_DEVICES": str(tmp_path / "devices")}


@pytest.mark.slow
@pytest.mark.usefixtures("digits")
def test_acceptance_is_held_against_the_shipped_profile_of_this_machine(
    tmp_path: Path, cli: Cli
) -> None:
    env = _with_profile(tmp_path, "local", 'transport = "local"\npython = "/nowhere/python"\n')
    done = cli("doctor", "--acceptance", "pixel-3", env=env)
    assert done.returncode == 0 and "✓ python, int8 (cpu x" in done.stdout, done


@pytest.mark.slow
@pytest.mark.usefixtures("digits")
def test_acceptance_says_when_this_machines_own_run_fails(
    tmp_path: Path, cache: Path, cli: Cli
) -> None:
    # As it was, but the place of what this machine as a device keeps cannot be a folder.
    mine = tmp_path / "cache"
    shutil.copytree(cache, mine, ignore=shutil.ignore_patterns("device", "shared-locks"))
    (mine / "device").touch()
    done = cli("doctor", "--acceptance", "pixel-3", "--format", "json",
               env={"HARNESS_CACHE": str(mine)})  # fmt: skip
    (bad,) = [row for row in json.loads(done.stdout) if row["mark"] == "bad"]
    assert done.returncode == 1 and bad["name"] == "reference"
    assert bad["found"].startswith("this machine's own run failed: ")


@pytest.mark.slow
@pytest.mark.usefixtures("digits")
def test_an_interrupted_acceptance_begins_nothing_more(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*harness_command(), "doctor", "--acceptance", "pixel-3"], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    said = process.stderr.readline()
    assert " started: " in said
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 130
    assert " started: " not in rest and "stopping after this step" in rest


def test_a_second_session_that_was_refused_is_gone(tmp_path: Path) -> None:
    """Else it may get the device once this session is over, and leave a lease without an owner."""
    with started(authenticate=False) as phone:
        table = f"[device.board]\n{phone.profile()}"
        suite = write_suite(tmp_path / "suite.toml", devices=["board"], device=table)
        with Session(load_suite(suite, known_names()).devices[0], "acceptance") as session:
            (found,) = acceptance._second_session(session)
            assert found.mark is Mark.GOOD
            waiting = ["pgrep", "-f", "another one [0-9a-f]{4}$"]
            left = subprocess.run(waiting, capture_output=True, text=True, check=False)
            assert left.stdout == ""


@pytest.mark.slow
def test_acceptance_of_a_board(tmp_path: Path, sshd: Sshd, cli: Cli) -> None:
    profiles = tmp_path / "devices"
    profiles.mkdir()
    (profiles / "board.toml").write_text(sshd.device("board").split("]\n", 1)[1])
    done = cli(
        "doctor", "--acceptance", "board", "--format", "json",
        env={"HARNESS_DEVICES": str(profiles)},
    )  # fmt: skip
    found = {row["name"]: row for row in json.loads(done.stdout)}
    assert not [row for row in found.values() if row["mark"] == "bad"], done.stdout
    assert done.returncode == 0
    for name in ("exit codes", "odd names", "no orphans", "cut link", "push 64 MB", "second push",
                 "one session", "python, float32 (cpu x1)", "python, int8 (cpu x1)"):  # fmt: skip
        assert found[name]["mark"] == "good", name
    assert found["odd names"]["found"].startswith("9 of 9 names")
    assert "held by" in found["one session"]["found"] or "in use" in found["one session"]["found"]
