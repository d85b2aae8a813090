"""The benchmark_model runner end to end, with a tool that really runs the models."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cache import file_sha256
from harness.config.suites import load_suite
from harness.devices import messages
from harness.devices.benchmark_model import process
from harness.devices.benchmark_model.sweep import Batches
from harness.devices.benchmark_model.tool import find_tool
from harness.devices.blobs import Blob
from harness.devices.session import Answer, Session
from harness.domain import Device, DeviceKind, Stage
from harness.errors import (
    AgentCrashedError,
    AgentReportedError,
    AgentSetupError,
    AgentTimeoutError,
    ConfigError,
    DeviceFullError,
    HarnessError,
    ProtocolError,
    UnsupportedError,
)
from harness.orchestrate.environment import known_names
from harness.transports.adb import AdbTransport
from harness.transports.scripts import script
from tests.support import write_suite
from tests.support.adb import Adb, start_android
from tests.support.benchmark_model import write_tool
from tests.support.sshd import Sshd

ALL = ("cpu", "xnnpack", "nnapi", "gpu", "hexagon")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    return write_tool(tmp_path)


def board(program: Path, folder: Path, **link: Any) -> Device:
    return Device(
        "board", DeviceKind.REAL, "local", accelerators=ALL,
        link={"benchmark_model": str(program), "work_dir": str(folder / "work"), **link},
    )  # fmt: skip


def blob(path: Path) -> Blob:
    return Blob(path, file_sha256(path), path.stat().st_size, path.name)


def ask(
    device: Device, digits: dict[str, Path], action: str, backend: str = "xnnpack x1",
    *, recipe: str = "int8", silence: float = 60, **more: Any,
) -> tuple[Answer, list[dict[str, Any]]]:  # fmt: skip
    """One request to a session of its own; the answer and what came before its end."""
    model, samples = blob(digits[recipe]), blob(digits["samples"])
    heard: list[dict[str, Any]] = []
    with Session(device, "test") as session:
        session.push([model, samples], lambda *seen: None, runners={"benchmark_model", "agent"})
        request = {
            "action": action, "id": "x", "backend": backend,
            "model": {"path": session.path(model), "sha256": model.sha256},
            "samples": {"path": session.path(samples), "sha256": samples.sha256},
            "preprocessing": {"scale": 0.0625, "mean": [0.0], "std": [1.0]},
            "warmup_runs": 1, "warmup_seconds": 0, "min_runs": 7, "min_seconds": 0,
            "max_seconds": 5, **more,
        }  # fmt: skip
        purpose = Stage.LATENCY if action == "latency" else Stage.ACCURACY
        answer = session.ask(
            request, lambda message, _: heard.append(message), purpose=purpose, silence=silence
        )
        assert session.stage is purpose
    return answer, heard


def joined(heard: list[dict[str, Any]], count: int) -> np.ndarray[Any, Any]:
    parts = sorted(
        (messages.outputs(message, "board", count) for message in heard), key=lambda item: item[1]
    )
    return np.concatenate([part for _, _, part in parts])


def test_a_latency_trial(program: Path, tmp_path: Path, digits: dict[str, Path]) -> None:
    answer, heard = ask(board(program, tmp_path), digits, "latency")
    assert heard == []
    assert answer.summary["count"] == 7 and answer.summary["unit"] == "us"
    assert answer.summary["warmup"]["count"] == 2, "the first inference is one of the warm-up"
    assert answer.loaded["init_ns"] > 0 and answer.loaded["inputs"][0]["dtype"] == "int8"
    assert answer.facts["delegated"]["whole"] is True and answer.facts["stopped_by"] == "enough"
    sha256 = file_sha256(program)
    assert answer.hello["agent"] == "benchmark_model" and answer.hello["agent_version"] == sha256
    assert answer.hello["runtime"]["version"] == f"sha256:{sha256[:12]}"
    assert answer.hello["platform"]["system"] == "Linux"
    assert answer.hello["platform"]["cpu_count"] == os.cpu_count()


def test_old_builds_print_less(
    program: Path, tmp_path: Path, digits: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_BENCHMARK_MODEL", "old")
    answer, _ = ask(board(program, tmp_path), digits, "latency")
    assert answer.summary["median"] is None and answer.summary["count"] == 7


@pytest.mark.slow
def test_outputs_are_those_of_the_agent(
    program: Path, tmp_path: Path, digits: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.devices.benchmark_model.sweep.BATCH", 3)
    device = board(program, tmp_path)
    for recipe in ("int8", "float32"):
        theirs = ask(device, digits, "sweep", "cpu x1", recipe=recipe, count=7)[1]
        answer, heard = ask(device, digits, "sweep", recipe=recipe, count=7)
        assert [message["offset"] for message in heard] == [0, 3, 6]
        mine = joined(heard, 7)
        assert mine.tobytes() == joined(theirs, 7).tobytes()
        assert answer.facts["memory_peak_bytes"] == {"end": 12.5 * 2**20}
        assert answer.facts["samples"] == 7
    assert not (tmp_path / "work" / "benchmark_model").exists(), "nothing is left on the device"


def test_operators(program: Path, tmp_path: Path, digits: dict[str, Path],
                   monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    for words in ("", "old"):
        monkeypatch.setenv("FAKE_BENCHMARK_MODEL", words)
        _, (message,) = ask(board(program, tmp_path), digits, "operators", runs=9)
        assert message["runs"] == 9 and message["unit"] == "ns"
        assert [item["name"] for item in message["operators"]] == [
            "Convolution (NHWC, QC8) IGEMM", "SOFTMAX",
        ]  # fmt: skip
        assert message["operators"][1] == {
            "name": "SOFTMAX", "node": 15, "time": 45_000, "calls": 9, "delegated": False,
        }  # fmt: skip


def test_android_accelerators(
    program: Path, tmp_path: Path, digits: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    device = board(program, tmp_path)
    for backend in ("nnapi", "hexagon"):
        with pytest.raises(UnsupportedError, match=f"cannot use {backend}"):
            ask(device, digits, "latency", backend)
    with pytest.raises(UnsupportedError, match="GPU acceleration is unsupported"):
        ask(device, digits, "latency", "gpu(runner=benchmark_model)")
    nnapi = "nnapi(accelerator=qti-dsp, execution_preference=sustained_speed)"
    monkeypatch.setenv("FAKE_BENCHMARK_MODEL", "android")
    answer, _ = ask(device, digits, "latency", nnapi)
    assert answer.facts["delegated"]["accelerator"] == "nnapi"
    monkeypatch.setenv("FAKE_BENCHMARK_MODEL", "android,partial")
    answer, _ = ask(device, digits, "latency", nnapi)
    assert answer.facts["delegated"] == {
        "accelerator": "nnapi", "nodes": 5, "total": 9, "partitions": 2, "whole": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ("unsupported", UnsupportedError, "XNNPACK acceleration is unsupported"),
        ("fails", UnsupportedError, "Restored original execution plan"),
        ("silent", ProtocolError, "nothing of whether xnnpack runs the model"),
        ("units", ProtocolError, "timings that are not understood: Inference timings in ms"),
        ("escape", ProtocolError, "a phase that is not understood"),
        ("truncates", ProtocolError, "2 lines of statistics and no line of timings"),
        ("ignores", ProtocolError, "another stop rule than 2 runs"),
        ("lying_result", ProtocolError, "for mean and wrote"),
        ("crashes", AgentCrashedError, "died of signal 11"),
        ("endless", ProtocolError, "printed more than"),
    ],
)
def test_misbehaviour_is_an_error(
    program: Path, tmp_path: Path, digits: dict[str, Path], monkeypatch: pytest.MonkeyPatch,
    words: str, error: type[HarnessError], message: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("FAKE_BENCHMARK_MODEL", words)
    with pytest.raises(error, match=message):
        ask(board(program, tmp_path), digits, "latency")


def test_a_hung_tool_is_ended(
    program: Path, tmp_path: Path, digits: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_BENCHMARK_MODEL", "hangs")
    with pytest.raises(AgentTimeoutError):
        ask(board(program, tmp_path), digits, "latency", silence=0.5, max_seconds=0.5)


def test_a_sweep_ends_at_the_first_bad_run(
    program: Path, tmp_path: Path, digits: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_BENCHMARK_MODEL", "short")
    with pytest.raises(
        AgentReportedError, match="saved 9 bytes of outputs, and the variant has 10"
    ):
        ask(board(program, tmp_path), digits, "sweep", count=3)


def test_a_delegate_that_gives_up_in_mid_sweep_is_noticed(tmp_path: Path) -> None:
    """What is said of delegates is looked at again whenever it changes."""
    program = tmp_path / "tool"
    program.write_text(
        "#!/bin/sh\ncat input >output\n[ -e seen ] && echo 'falling back to CPU' || : >seen\n"
    )
    program.chmod(0o755)
    from harness.transports.local import LocalTransport

    heard: list[list[str]] = []
    batches = Batches(
        LocalTransport(board(program, tmp_path)), str(tmp_path), [str(program)], "board", "cpu",
        2, 2, lambda lines: heard.append([line for line in lines if line]), 30,
    )  # fmt: skip
    assert batches.run(b"aabbccdd") == b"aabbccdd"
    assert heard == [[], ["falling back to CPU"]]


@pytest.mark.parametrize(
    ("tool", "size", "count"),
    [("cat input >output", 200_000, 3), ("cat input input input input inputs >output", 150_000, 2),
     ("cat input >output", 550_000, 1)],
    ids=["outputs", "tool", "input"],
)  # fmt: skip
def test_a_sweep_on_a_device_that_becomes_full(adb: Adb, tool: str, size: int, count: int) -> None:
    folder = "/data/local/tmp"
    with start_android(adb.key, data_mb=1) as target:
        link = AdbTransport(adb.directly(target))
        link.open()
        batches = Batches(
            link, folder, ["sh", "-c", tool], "phone", "cpu", size, size, lambda lines: None, 30
        )
        with pytest.raises(DeviceFullError, match=r"cannot be written in /data.*No space left"):
            batches.run(bytes(size * count))
        assert link.run(["ls", folder]).stdout == b"outputs\n"
        link.close()


def test_a_model_that_the_tool_cannot_load(
    program: Path, tmp_path: Path, digits: dict[str, Path]
) -> None:
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(digits["int8"].read_bytes()[:-2000])
    with pytest.raises(AgentReportedError):
        ask(board(program, tmp_path), {**digits, "int8": damaged}, "latency")


@pytest.mark.parametrize("name", ["benchmark_run.sh", "benchmark_sweep.sh"])
def test_no_tool_is_left_behind_when_the_host_goes(tmp_path: Path, name: str) -> None:
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\necho $$ >began\nexec sleep 600\n")
    program.chmod(0o755)
    (tmp_path / "inputs").write_bytes(b"ab")
    sizes = [] if name == "benchmark_run.sh" else ["2", "1", "1"]
    child = subprocess.Popen(
        ["sh", "-c", script(name), name, str(tmp_path), *sizes, str(program)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    began = tmp_path / "began"
    while not began.exists() or not began.read_text().strip():
        time.sleep(0.02)
    assert child.stdin and child.stdout
    child.stdin.close()
    said = child.stdout.read().decode()
    assert child.wait() == 0
    child.stdout.close()
    assert "137" in said, "killed, and the script says so"
    with pytest.raises(ProcessLookupError):
        os.kill(int(began.read_text()), 0)


def test_tool_keeps_to_its_cores(program: Path, tmp_path: Path, digits: dict[str, Path]) -> None:
    assert process.pinned("tool", {"cores": [0, 3]}) == ["taskset", "9", "tool"]
    answer, _ = ask(board(program, tmp_path), digits, "latency", cores=[0])
    assert answer.facts["cores"] == [0] and answer.summary["count"] == 7


def test_what_is_not_the_tool(tmp_path: Path, digits: dict[str, Path]) -> None:
    other = tmp_path / "other"
    for content, message in (
        (b"#!/bin/sh\necho hello\n", "does not run there .*hello"),
        (b"\x7fELF" + bytes(200), "does not run there"),
    ):
        other.write_bytes(content)
        with pytest.raises(AgentSetupError, match=message):
            ask(board(other, tmp_path), digits, "latency")


@pytest.mark.slow
def test_tool_over_ssh(sshd: Sshd, program: Path, tmp_path: Path, digits: dict[str, Path]) -> None:
    suite = write_suite(
        tmp_path / "ssh.toml", devices=["far"],
        device=sshd.device("far", benchmark_model=str(program))
        + '\naccelerators = ["cpu", "xnnpack"]\n',
    )  # fmt: skip
    device = load_suite(suite, known_names()).devices[0]
    answer, _ = ask(device, digits, "latency")
    assert answer.summary["count"] == 7
    _, heard = ask(device, digits, "sweep", count=3)
    assert joined(heard, 3).shape == (3, 10)


# -- the binary --------------------------------------------------------------------------------


def test_a_changed_file_is_refused(program: Path, tmp_path: Path) -> None:
    with pytest.raises(AgentSetupError, match="has the sha256"):
        find_tool(board(program, tmp_path, benchmark_model_sha256="0" * 64))


def test_profiles_are_checked(program: Path, tmp_path: Path) -> None:
    def load(table: str, backend: str = "xnnpack x1") -> None:
        path = write_suite(tmp_path / "s.toml", devices=["board"], device=(
            f'[device.board]\ntransport = "local"\naccelerators = ["cpu", "xnnpack"]\n{table}'
        ))  # fmt: skip
        path.write_text(f'backends = ["{backend}"]\n' + path.read_text())
        load_suite(path, known_names())

    load(f'benchmark_model = "{program}"')
    for table, backend, message in (
        ("", "xnnpack x1", "run by benchmark_model, and none is set"),
        ("", "cpu x1 (runner=benchmark_model)", "run by benchmark_model, and none is set"),
        ('benchmark_model = "https://example.org/t"', "xnnpack x1", "needs benchmark_model_sha256"),
        ('benchmark_model = "no/such"', "xnnpack x1", "there is no file"),
    ):
        with pytest.raises(ConfigError, match=message):
            load(table, backend)


# -- a whole run -------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_suite_over_both_runners(
    program: Path, tmp_path: Path, digits: dict[str, Path], cli: Any
) -> None:
    path = write_suite(
        tmp_path / "suite.toml", devices=["board"], recipes=["int8"], limit=8, trials=2,
        device=f'[device.board]\ntransport = "local"\naccelerators = ["cpu", "xnnpack"]\n'
               f'benchmark_model = "{program}"',
    )  # fmt: skip
    tools = ("xnnpack x1", "cpu x1 (runner=benchmark_model)")
    path.write_text(f"backends = {json.dumps(['cpu x1', *tools])}\n" + path.read_text())
    done = cli("run", str(path), "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    by = {row["backend"]: row for row in rows}
    assert len(by) == 3
    agent = by["cpu x1"]
    assert "summary_only" not in agent["advisories"]
    for name in tools:
        tool = by[name]
        assert (tool["accuracy"], tool["size_bytes"]) == (agent["accuracy"], agent["size_bytes"])
        assert "summary_only" in tool["advisories"]
        assert "outputs_differ" not in tool["advisories"]
        assert 0 < tool["latency_low_ms"] <= tool["latency_median_ms"] <= tool["latency_high_ms"]
        assert tool["runtime"].startswith("benchmark_model")


@pytest.mark.slow
def test_without_the_tool_only_its_jobs_fail(tmp_path: Path, program: Path, cli: Any) -> None:
    path = write_suite(
        tmp_path / "suite.toml", devices=["board"], limit=12,
        device=f'[device.board]\ntransport = "local"\naccelerators = ["cpu", "xnnpack"]\n'
               f'benchmark_model = "{program}"\nbenchmark_model_sha256 = "{"0" * 64}"',
    )  # fmt: skip
    path.write_text('backends = ["cpu x1", "xnnpack x1"]\n' + path.read_text())
    done = cli("run", str(path), "--format", "json")
    assert done.returncode == 3
    by = {row["backend"]: row for row in json.loads(done.stdout)}
    assert by["cpu x1"]["status"] == "ok"
    assert by["xnnpack x1"]["status"] == "failed" and "sha256" in by["xnnpack x1"]["error"]
