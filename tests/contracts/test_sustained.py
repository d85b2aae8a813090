"""Every agent keeps a machine under load alike, and tells alike what that did to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.devices import messages as checked
from tests.support.agent import AgentProcess, exchange, phases, request
from tests.support.boards import Board


@pytest.fixture
def loading(digits: dict[str, Path]) -> Callable[..., dict[str, Any]]:
    def asked(**more: Any) -> dict[str, Any]:
        wanted = {"seconds": 0.6, "trace_seconds": 0.1, "trace_samples": 10, **more}
        return request("sustained", digits["float32"], digits["samples"], **wanted)

    return asked


def test_a_load(agent: list[str], loading: Callable[..., dict[str, Any]]) -> None:
    answers = exchange(loading(idle_seconds=0.25, threads=1), command=agent)
    found = phases(answers, checked.LOAD)
    facts = checked.done_facts(answers[-1], "here")
    assert set(found) <= {"first", "idle", "sustained", "interval", "runs", "temperature",
                          "frequency"}  # fmt: skip
    idle_at, idle = found["idle"]
    assert len(idle) == 3 and 0.24 <= idle.sum() / 1e9 < 0.6
    at, lengths = found["interval"]
    runs_at, runs = found["runs"]
    assert (at == runs_at).all() and 3 <= len(at) <= 6
    # No pause but for the sensors: what is between two intervals is a small part of them.
    assert idle_at[-1] + idle[-1] <= found["first"][0][0] < at[0]
    assert (at[1:] >= (at + lengths)[:-1]).all()
    assert (lengths[:-1] >= 0.1e9).all()
    assert 0.5e9 < lengths.sum() < 1e9
    starts, durations = found["sustained"]
    for begin, length, count in zip(at, lengths, runs, strict=True):
        inside = (starts >= begin) & (starts < begin + length)
        kept = starts[inside]
        stride = next(2**n for n in range(40) if -(-count // 2**n) < 20)
        assert len(kept) == -(-count // stride) and len(kept) < 20
        assert kept[0] - begin < 0.01e9 and (durations[inside] <= length).all()
        # They are spread over the whole interval.
        assert kept[-1] > begin + 0.6 * length
    assert facts["conditions"]["before"]["at"] <= found["first"][0][0]
    assert facts["conditions"]["after"]["at"] >= at[-1] + lengths[-1]
    assert facts["threads_asked"] == facts["threads_found"] == 1
    assert facts["memory_peak_bytes"]["end"] > 2e6 and facts["delegated"]["total"] > 0


def test_every_inference_is_kept_where_there_are_few(
    agent: list[str], loading: Callable[..., dict[str, Any]]
) -> None:
    found = phases(exchange(loading(seconds=0.05, trace_samples=4096), command=agent), checked.LOAD)
    runs = int(found["runs"][1].sum())
    starts, durations = found["sustained"]
    assert len(starts) == runs < 2 * 4096
    assert (starts[1:] >= (starts + durations)[:-1]).all()


def test_the_sensors_of_a_board_are_read_again_and_again(
    agent: list[str], loading: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    zone, cpu = "class/thermal/thermal_zone0", "devices/system/cpu/cpu0/cpufreq"
    board = Board(
        tmp_path,
        {f"{zone}/type": "cpu-thermal", f"{zone}/temp": "50000",
         f"{cpu}/scaling_cur_freq": "1500000"},
    )  # fmt: skip
    process = AgentProcess(command=board.command(agent))
    try:
        process.say(loading(seconds=1.2, trace_seconds=0.05, cores=[0]))
        steps = itertools.chain(
            # Each for a few intervals: the agent reads while the files are written.
            [("61500", "1500000")] * 4 + [("nonsense", "-1")] * 4 + [("-4000", "600000")] * 4,
            itertools.repeat(("80250", "900000")),
        )
        seen = []
        while (message := process.hear())["type"] != "done":
            assert message["type"] != "error", message
            if message["type"] == "samples":
                phase, _, values = checked.samples(message, "here", checked.LOAD)
                if phase in ("temperature", "frequency"):
                    seen.append((phase, int(values[0])))
                if phase == "runs":
                    temperature, khz = next(steps)
                    for name, value in ((f"{zone}/temp", temperature),
                                        (f"{cpu}/scaling_cur_freq", khz)):  # fmt: skip
                        (tmp_path / "new").write_text(value + "\n")
                        (tmp_path / "new").replace(tmp_path / name)
    finally:
        process.close()
    for wanted in (("temperature", 50000), ("temperature", 61500), ("temperature", -4000),
                   ("temperature", 80250), ("frequency", 1500000),
                   ("frequency", 900000)):  # fmt: skip
        assert wanted in seen, (wanted, seen)
    assert ("frequency", 600000) in seen and len(seen) > 8
    assert {value for phase, value in seen if phase == "frequency"} == {1500000, 600000, 900000}


@pytest.mark.parametrize(
    "wrong",
    [{"seconds": 0}, {"seconds": -1}, {"seconds": "5"}, {"seconds": True}, {"seconds": 1e9},
     {"idle_seconds": -1}, {"trace_seconds": 0}, {"trace_seconds": None}, {"trace_samples": 0},
     {"trace_samples": 10.0}, {"trace_samples": 1 << 20}, {"seconds": [1]}],
)  # fmt: skip
def test_requests_that_make_no_sense(
    agent: list[str], loading: Callable[..., dict[str, Any]], wrong: dict[str, Any]
) -> None:
    error = exchange(loading(**wrong), command=agent)[-1]
    assert (error["kind"], error["stage"]) == ("bad_request", "sustained")
    assert f"{next(iter(wrong))} is wrong" in error["message"]
