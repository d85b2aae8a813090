"""Every agent tells alike how the machine is: this one, and others that it is dressed up as."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.devices import messages as checked
from harness.devices.agents import AGENTS
from tests.support.agent import exchange, request
from tests.support.boards import PHONE, Board

QUICK = {"warmup_runs": 1, "warmup_seconds": 0, "min_runs": 5, "min_seconds": 0.3}

#: user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice: see proc_stat(5).
STAT = "cpu  1000 200 300 50000 6000 70 8 900 10 11\ncpu0 1 2 3 4 5 6 7 8 9 10\n"

KEYS = {
    "at", "busy_s", "own_s", "frequency_mhz", "frequency_max_mhz", "temperature_c",
    "involuntary_switches", "processors",
}  # fmt: skip

Conditions = Callable[..., dict[str, Any]]


@pytest.fixture(params=AGENTS)
def conditions(
    request: pytest.FixtureRequest, commands: dict[str, list[str]], digits: dict[str, Path]
) -> Conditions:
    """What the agent tells of a trial on a board, or here."""

    def ask(board: Board | None = None, **more: Any) -> dict[str, Any]:
        asked = latency(digits, **more)
        command = commands[request.param]
        if board is not None:
            command = board.command(command)
        answers = exchange(asked, command=command)
        assert answers[-1]["type"] == "done", answers[-1]
        facts = checked.done_facts(answers[-1], "here")
        found: dict[str, Any] = facts["conditions"]
        timed = [message for message in answers if message.get("phase") == "measure"]
        assert found["before"]["at"] <= timed[0]["at"][0]
        assert found["after"]["at"] >= timed[-1]["at"][-1] + timed[-1]["values"][-1]
        return found

    return ask


def latency(digits: dict[str, Path], **more: Any) -> dict[str, Any]:
    return request("latency", digits["float32"], digits["samples"], **{**QUICK, **more})


def test_this_machine(conditions: Conditions) -> None:
    found = conditions()
    before, after = found["before"], found["after"]
    assert set(before) == set(after) == KEYS
    assert before["processors"] == os.cpu_count()
    elapsed = (after["at"] - before["at"]) / 1e9
    assert elapsed >= 0.3
    # The agent did nothing but infer: most of that time it had a processor, and the machine
    # as a whole used at least as much, to the clock tick (and a hundredth of a second).
    own = after["own_s"] - before["own_s"]
    assert 0.1 * elapsed < own < 1.5 * elapsed
    assert 0 < before["own_s"] < 60
    assert after["busy_s"] - before["busy_s"] > own - 0.1
    assert 0 <= before["involuntary_switches"] <= after["involuntary_switches"]


def test_a_phone(conditions: Conditions, tmp_path: Path) -> None:
    files = {
        **PHONE,
        "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": "1000000",
        "devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "1600000",
        "class/thermal/thermal_zone2/type": "CPU-0-1",
        "class/thermal/thermal_zone2/temp": "47900",
        "class/thermal/thermal_zone3/type": "cpu-off",
        "class/thermal/thermal_zone3/temp": "-273000",
    }
    board = Board(tmp_path, files, STAT)
    found = conditions(board, cores=[0, 1])["before"]
    assert found["busy_s"] == pytest.approx((1000 + 200 + 300 + 70 + 8) / os.sysconf("SC_CLK_TCK"))
    assert found["frequency_mhz"] == pytest.approx(1300)
    assert found["frequency_max_mhz"] == pytest.approx(1803)
    assert found["temperature_c"] == pytest.approx(48.5)  # the battery's 61 is not the processor's
    assert conditions(board, cores=[1])["after"]["frequency_mhz"] == pytest.approx(1600)


def test_a_board_whose_zones_have_no_names(conditions: Conditions, tmp_path: Path) -> None:
    files = {
        "class/thermal/thermal_zone0/type": "acpitz",
        "class/thermal/thermal_zone0/temp": " 43 ",
        "class/thermal/thermal_zone1/temp": "-2500",
        "class/thermal/thermal_zone2/type": "bcm2x",
        "class/thermal/thermal_zone2/temp": "0",
    }
    found = conditions(Board(tmp_path, files))["after"]
    assert found["temperature_c"] == 43
    assert found["frequency_mhz"] is None and found["frequency_max_mhz"] is None


@pytest.mark.parametrize(
    ("temperature", "khz", "stat"),
    [
        ("nonsense", "-5", "cpu  1 2 3\n"),
        ("-", "1e6", "cpu0 1 2 3 4 5 6 7\n"),
        ("48500 48500", "99999999999999999999", "cpu  1 2 3 4 5 6 -7 8\n"),
        ("1" * 300, "0", ""),
        ("250000", "\u00e9", "cpu  a b c d e f g h\n"),
    ],
)
def test_files_with_nonsense(
    conditions: Conditions, tmp_path: Path, temperature: str, khz: str, stat: str
) -> None:
    files = {
        "class/thermal/thermal_zone0/type": "cpu-thermal",
        "class/thermal/thermal_zone0/temp": temperature,
        **{
            f"devices/system/cpu/cpu{n}/cpufreq/{name}": khz
            for n in range(os.cpu_count() or 1)
            for name in ("scaling_cur_freq", "cpuinfo_max_freq")
        },
    }
    found = conditions(Board(tmp_path, files, stat), min_seconds=0)["before"]
    told = {key for key, value in found.items() if value is not None}
    assert told == {"at", "own_s", "involuntary_switches", "processors"}
