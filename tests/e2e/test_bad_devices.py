"""Bad devices, cut links and full disks: a clear record for that job, the others unharmed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import harness
from harness.orchestrate.events import Event, TrialStarted
from tests.e2e.rows import rows_of as run
from tests.support import needed, write_suite
from tests.support.sshd import Sshd, when_connected

Cli = Callable[..., subprocess.CompletedProcess[str]]


def script(path: Path, text: str) -> Path:
    """A program in the place of a device's Python."""
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


#: Passes helper scripts (-c) on to the real Python; does as told when the agent is started.
WRAPPER = """
import os, sys, time
if sys.argv[1] == "-c":
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
{instead}
"""


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ("print('hello world, I am no agent')", "not of the protocol"),
        ("os.write(1, bytes(range(256)) * 9 + b'\\n')", "not of the protocol"),
        ('print(\'{"type": "hello", "protocol": 7}\')', "expected a hello"),
        ("sys.exit('board is on fire')", "board is on fire"),
        ("os.kill(os.getpid(), 11)", "cut off before it said hello|signal 11"),
        ("while True: os.write(1, b'x' * 65536)", "without an end"),
        ("import pathlib; sys.stdout.write('{\"a\":' * 100000 + '\\n')", "not of the protocol"),
    ],
)
def test_devices_that_talk_nonsense(
    digits: dict[str, Path], tmp_path: Path, instead: str, said: str
) -> None:
    import re

    odd = script(tmp_path / "python", WRAPPER.format(python=sys.executable, instead=instead))
    suite = write_suite(
        tmp_path / "suite.toml", devices=["odd", "pixel-3"],
        device=f'\n[device.odd]\ntransport = "local"\npython = "{odd}"\n',
    )  # fmt: skip
    rows = run(suite)
    assert rows["odd"]["status"] == "failed" and rows["odd"]["stage"] == "start"
    assert re.search(said, rows["odd"]["error"]), rows["odd"]["error"]
    assert "\x1b" not in rows["odd"]["error"]
    assert rows["pixel-3"]["status"] == "ok" and rows["odd"]["exit"] == 3


#: An agent that is the real one until it has loaded the model, then does as told.
FAULTY = """
import os, sys, time
if sys.argv[1] == "-c":
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
sys.path.insert(0, sys.argv[1])
import device_agents.python.agent as agent
def fault(*_):
    {fault}
agent.ACTIONS[{action!r}] = lambda request, emit, runtime, clock, system: (
    emit(agent_load(request, runtime, clock)), fault(emit))
from device_agents.python.tensors import load
def agent_load(request, runtime, clock):
    return load(request, runtime, clock, "latency").as_message()
agent.main()
"""


@pytest.mark.parametrize("action", ["latency", "sweep"])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("os._exit(9)", "died .*exit code 9"),
        ("os.kill(os.getpid(), 9)", "died .*signal 9"),
        ("time.sleep(60)", "said nothing for 2 s"),
        ("raise MemoryError", "out of memory"),
        ('_[0]({"type": "outputs", "offset": 10**9, "shape": [1], "dtype": "int8", "data": ""})',
         "make no sense"),
        ('_[0]({"type": "samples", "phase": "measure", "unit": "ns", "at": [1], "values": [-5]})',
         "make no sense"),
        ('_[0]({"type": "surprise"})', "unknown message"),
    ],
)  # fmt: skip
def test_agents_that_die_hang_or_lie_in_mid_job(
    digits: dict[str, Path], tmp_path: Path, action: str, fault: str, said: str
) -> None:
    import re

    odd = script(
        tmp_path / "python",
        FAULTY.format(python=sys.executable, fault=fault, action=action),
    )
    suite = write_suite(
        tmp_path / "suite.toml", devices=["odd", "pixel-3"],
        device=f'\n[device.odd]\ntransport = "local"\npython = "{odd}"\n',
        policy="silence_timeout = 2",
    )  # fmt: skip
    rows = run(suite)
    assert rows["odd"]["status"] == "failed"
    assert rows["odd"]["stage"] == {"latency": "latency", "sweep": "accuracy"}[action]
    assert re.search(said, rows["odd"]["error"]), rows["odd"]["error"]
    assert rows["pixel-3"]["status"] == "ok" and rows["odd"]["exit"] == 3


@pytest.mark.parametrize("measured", ["'latency', ", ""])
def test_a_pass_that_cannot_be_measured_costs_no_other_number(
    digits: dict[str, Path], tmp_path: Path, measured: str
) -> None:
    """Where there is no other number, the job has failed."""
    fault = FAULTY.format(python=sys.executable, fault="os._exit(9)", action="scenario")
    odd = script(tmp_path / "python", fault)
    suite = write_suite(
        tmp_path / "suite.toml", devices=["odd"], recipes=["float32", "int8"], trials=1,
        device=f'\n[device.odd]\ntransport = "local"\npython = "{odd}"\n',
        policy=f"measure = [{measured}'scenarios']\n"
        "scenarios = ['single_stream(min_seconds=0.01)', 'offline(min_seconds=0.01)']",
    )  # fmt: skip
    rows = run(suite)
    for recipe in ("float32", "int8"):
        if measured:
            assert rows[recipe]["status"] == "ok" and rows[recipe]["latency_median_ms"] > 0
            assert "measurement_failed" in rows[recipe]["advisories"]
        else:
            assert (rows[recipe]["status"], rows[recipe]["stage"]) == ("failed", "scenarios")
            assert "answer queries" in rows[recipe]["error"]


def test_a_crash_that_does_not_come_again_is_repeated_and_said(
    digits: dict[str, Path], tmp_path: Path
) -> None:
    once = (
        f"if not os.path.exists({str(tmp_path / 'crashed')!r}) and sys.argv[1] != '-c':\n"
        f"    open({str(tmp_path / 'crashed')!r}, 'w'); os._exit(5)\n"
        f"os.execv({sys.executable!r}, [{sys.executable!r}, *sys.argv[1:]])"
    )
    odd = script(tmp_path / "python", "import os, sys\n" + once)
    suite = write_suite(
        tmp_path / "suite.toml", devices=["odd"],
        device=f'\n[device.odd]\ntransport = "local"\npython = "{odd}"\n',
    )  # fmt: skip
    rows = run(suite)
    assert rows["float32"]["status"] == "ok"
    assert "trials_failed" in rows["float32"]["advisories"]


def test_a_device_without_python_numpy_or_runtime(digits: dict[str, Path], tmp_path: Path) -> None:
    bare = script(
        tmp_path / "bare", f"import os, sys\nos.execv({sys.executable!r}, "
        f"[{sys.executable!r}, '-S', '-E', *sys.argv[1:]])"
    )  # fmt: skip
    suite = write_suite(
        tmp_path / "suite.toml", devices=["none", "bare", "pixel-3"],
        device='\n[device.none]\ntransport = "local"\npython = "/nonexistent/python3"\n'
        f'\n[device.bare]\ntransport = "local"\npython = "{bare}"\n',
    )  # fmt: skip
    rows = run(suite)
    assert rows["none"]["stage"] == "start" and "/nonexistent/python3" in rows["none"]["error"]
    assert rows["bare"]["stage"] == "start" and "pip install numpy" in rows["bare"]["error"]
    assert rows["pixel-3"]["status"] == "ok"


def test_wrong_outputs_are_an_advisory_on_the_job(digits: dict[str, Path], tmp_path: Path) -> None:
    """A device whose runtime computes something else: numbers stay, but marked."""
    liar = """
import os, sys
if sys.argv[1] == "-c":
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
sys.path.insert(0, sys.argv[1])
import device_agents.python.agent as agent, device_agents.python.sweep as sweep
real = sweep._Engine._read
sweep._Engine._read = lambda self, index, count: real(self, index, count)[:, ::-1].copy()
agent.main()
"""
    odd = script(tmp_path / "python", liar.format(python=sys.executable))
    suite = write_suite(
        tmp_path / "suite.toml", devices=["odd", "local"],
        device=f'\n[device.odd]\ntransport = "local"\npython = "{odd}"\n',
    )  # fmt: skip
    rows = run(suite)
    assert "outputs_differ" in rows["odd"]["advisories"] and rows["odd"]["status"] == "ok"
    assert "outputs_differ" not in rows["local"]["advisories"]


def test_link_cut_in_the_middle_of_a_sweep_is_repeated(
    digits: dict[str, Path], tmp_path: Path, sshd: Sshd
) -> None:
    suite = write_suite(
        tmp_path / "suite.toml", devices=["board"], device=sshd.device("board"), trials=2
    )
    suite.write_text(suite.read_text().replace("min_seconds = 0.01", "min_seconds = 2.0"))
    cuts: list[Event] = []

    def cut_once(event: Event) -> None:
        if isinstance(event, TrialStarted) and not cuts:
            cuts.append(event)
            threading.Timer(0.3, sshd.cut).start()

    result = harness.run(suite, store=f"sqlite:///{tmp_path}/b.db", tell=cut_once)
    rows = {row["recipe"]: row for row in result.rows()}
    assert rows["float32"]["status"] == "ok" and rows["float32"]["trials"] == 2
    assert "trials_failed" in rows["float32"]["advisories"]


def test_a_device_that_goes_away_for_good_leaves_the_others_alone(
    digits: dict[str, Path], tmp_path: Path, sshd: Sshd
) -> None:
    suite = write_suite(
        tmp_path / "suite.toml", devices=["board", "pixel-3"], recipes=["float32", "int8"],
        device=sshd.device("board"), trials=2,
    )  # fmt: skip
    suite.write_text(suite.read_text().replace("min_seconds = 0.01", "min_seconds = 2.0"))
    when_connected(sshd, 2.0, sshd.stop)
    begin = time.monotonic()
    result = harness.run(suite, store=f"sqlite:///{tmp_path}/b.db")
    assert time.monotonic() - begin < 60
    rows = {(row["device"], row["recipe"]): row for row in result.rows()}
    for recipe in ("float32", "int8"):
        assert rows["pixel-3", recipe]["status"] == "ok"
        assert rows["board", recipe]["status"] == "failed"
        assert "ssh" in rows["board", recipe]["error"] or "link" in rows["board", recipe]["error"]
    assert result.outcome is not None and result.outcome.exit_code == 3


@pytest.mark.slow
def test_a_full_disk_on_the_host(cli: Cli, digits: dict[str, Path], tmp_path: Path) -> None:
    tiny = os.environ.get("HARNESS_TINY_DISK")
    if not tiny or not os.access(tiny, os.W_OK):
        needed("HARNESS_TINY_DISK does not name a small disk that can be written")
    folder = Path(tiny) / f"store-{os.getpid()}"
    folder.mkdir()
    ballast = folder / "ballast"
    suite = write_suite(tmp_path / "suite.toml", trials=3)
    suite.write_text(suite.read_text().replace("min_seconds = 0.01", "min_seconds = 1.0"))
    try:
        store = f"sqlite:///{folder}/harness.db"
        free = os.statvfs(tiny).f_bavail * os.statvfs(tiny).f_frsize
        ballast.write_bytes(bytes(max(0, free - 260_000)))
        done = cli("run", str(suite), "--store", store)
        assert done.returncode == 3, done.stderr
        assert "no room left for results" in done.stderr and "Traceback" not in done.stderr
        ballast.unlink()
        resumed = cli("run", "--resume", "last", "--store", store, "--format", "json")
        assert resumed.returncode == 0, resumed.stderr
        assert json.loads(resumed.stdout)[0]["status"] == "ok"
    finally:
        for item in folder.iterdir():
            item.unlink()
        folder.rmdir()


def test_a_full_disk_while_converting(digits: dict[str, Path], tmp_path: Path, cli: Cli) -> None:
    tiny = os.environ.get("HARNESS_TINY_DISK")
    if not tiny or not os.access(tiny, os.W_OK):
        needed("HARNESS_TINY_DISK does not name a small disk that can be written")
    folder = Path(tiny) / f"cache-{os.getpid()}"
    folder.mkdir()
    ballast = folder / "ballast"
    suite = write_suite(tmp_path / "suite.toml", model=str(digits["model"]), devices=["pixel-3"])
    try:
        free = os.statvfs(tiny).f_bavail * os.statvfs(tiny).f_frsize
        ballast.write_bytes(bytes(max(0, free - 400_000)))
        done = cli("run", str(suite), "--format", "json", env={"HARNESS_CACHE": str(folder)})
        assert done.returncode == 3, done.stderr
        (row,) = json.loads(done.stdout)
        assert row["status"] == "failed" and row["stage"] == "convert"
        assert "space" in row["error"], row["error"]
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True)
