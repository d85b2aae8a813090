"""Every link behaves alike: the same requests, the same answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cache import file_sha256
from harness.config.suites import load_suite
from harness.devices import messages
from harness.devices.blobs import Blob
from harness.devices.session import Answer, Session
from harness.domain import Device, Stage
from harness.errors import AgentReportedError, DeviceBusyError, PullError, PushError
from harness.orchestrate.environment import known_names
from harness.transports import TRANSPORTS, Transport, Upload
from tests.support import write_suite
from tests.support.adb import start_adb, start_android
from tests.support.sshd import start_sshd

#: A link that can be made in more ways than one is tested in each.
LINKS = [name for name in TRANSPORTS if name != "adb"] + ["adb by server", "adb directly"]


@pytest.fixture(params=LINKS)
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Device]:
    def load(names: list[str], table: str = "") -> Device:
        path = write_suite(tmp_path / "suite.toml", devices=names, device=table)
        return load_suite(path, known_names()).devices[0]

    if request.param == "ssh":
        with start_sshd(tmp_path / "sshd") as server:
            yield load(["board"], server.device("board"))
    elif request.param.startswith("adb"):
        with start_adb(tmp_path / "adb") as adb, start_android(adb.key) as target:
            made = (
                adb.by_server(target) if request.param.endswith("server") else adb.directly(target)
            )
            keys = "\n".join(f"{key} = {value!r}" for key, value in made.link.items())
            yield load(
                ["phone"], f'\n[device.phone]\ntransport = "adb"\nkind = "emulated"\n{keys}\n'
            )
    else:
        yield load([{"local": "local", "simulated": "raspberry-pi-4"}[request.param]])


#: A simulated device runs no commands but the agent's.
real_links = pytest.mark.parametrize(
    "device", [name for name in LINKS if name != "simulated"], indirect=True
)


@pytest.fixture
def link(device: Device) -> Iterator[Transport]:
    transport = TRANSPORTS[device.transport](device)
    transport.open()
    yield transport
    transport.close()


@real_links
def test_commands(link: Transport) -> None:
    done = link.run(["sh", "-c", 'cat; echo "$1" >&2; exit 7', "sh", "$(id) `id` 'x' \n -n é"],
                    stdin=bytes(range(256)))  # fmt: skip
    assert (done.exit_code, done.stdout) == (7, bytes(range(256)))
    assert done.stderr.decode() == "$(id) `id` 'x' \n -n é\n"
    assert link.run(["/no/such/program"]).exit_code == 127
    assert link.run(["sh", "-c", "cat"]).stdout == b""


@real_links
def test_a_process(link: Transport) -> None:
    process = link.start(["sh", "-c", "echo ready; read a; echo got $a; echo why >&2; exit 3"])
    assert process.read_line(20) == b"ready\n"
    process.send(b"it\n")
    assert (process.read_line(20), process.read_line(20)) == (b"got it\n", b"")
    assert process.wait(20) == 3 and process.stderr_tail() == "why\n"
    process.kill()
    endless = link.start(["cat"])
    endless.send(b"one\n")
    assert endless.read_line(20) == b"one\n"
    endless.kill()


@real_links
def test_files_there_and_back(link: Transport, tmp_path: Path) -> None:
    folder = link.run(["mktemp", "-d"]).stdout.decode().strip()
    files = {f"{folder}/plain": b"", f"{folder}/a 'b'\n$(c), é": bytes(range(256)) * 999}
    for index, content in enumerate(files.values()):
        (tmp_path / f"{index}").write_bytes(content)
    seen: list[int] = []
    link.put([Upload(tmp_path / f"{index}", name) for index, name in enumerate(files)], seen.append)
    assert sum(seen) == sum(map(len, files.values()))
    for name, content in files.items():
        assert link.run(["cat", name]).stdout == content
        assert link.get(name, tmp_path / "back", limit=len(content)) == len(content)
        assert (tmp_path / "back").read_bytes() == content
    with pytest.raises(PullError):
        link.get(f"{folder}/a 'b'\n$(c), é", tmp_path / "back", limit=1000)
    with pytest.raises(PullError):
        link.get(f"{folder}/none", tmp_path / "back", limit=1000)
    link.run(["rm", "-r", folder])


@real_links
def test_a_put_that_goes_on(link: Transport, tmp_path: Path) -> None:
    content = bytes(range(256)) * 9000
    (tmp_path / "whole").write_bytes(content)
    folder = link.run(["mktemp", "-d"]).stdout.decode().strip()
    if link.resumes:
        cut = f"{folder}/cut"
        link.put([Upload(tmp_path / "whole", cut)], lambda count: None)
        link.run(["truncate", "-s", "70000", cut])
        told: list[int] = []
        link.put([Upload(tmp_path / "whole", cut, 70000)], told.append)
        assert sum(told) == len(content) - 70000
        link.get(cut, tmp_path / "back", limit=1 << 24)
        assert (tmp_path / "back").read_bytes() == content
    link.run(["touch", f"{folder}/file"])
    with pytest.raises(PushError):
        link.put([Upload(tmp_path / "whole", f"{folder}/file/x")], lambda count: None)
    link.run(["rm", "-r", folder])


@real_links
def test_words_come_as_they_are_sent(link: Transport) -> None:
    done = link.run(["sh", "-c", 'printf "%s|" "$@"; echo why >&2; exit 3', "x", *ODD])
    assert done.stdout == "".join(f"{word}|" for word in ODD).encode()
    assert done.exit_code == 3 and done.stderr.endswith(b"why\n")


def blob(path: Path) -> Blob:
    return Blob(path, file_sha256(path), path.stat().st_size, path.name)


def test_a_latency_trial_and_a_sweep(device: Device, digits: dict[str, Path]) -> None:
    model, samples = blob(digits["int8"]), blob(digits["samples"])
    heard: list[dict[str, Any]] = []

    def listen(message: dict[str, Any], _answer: Answer) -> None:
        heard.append(message)

    with Session(device, "test") as session:
        session.push([model, samples], lambda *seen: None)
        request = {
            "id": "x", "model": {"path": session.path(model)},
            "samples": {"path": session.path(samples)}, "threads": 1,
            "preprocessing": {"scale": 0.0625, "mean": [0.0], "std": [1.0]},
            "warmup_runs": 1, "warmup_seconds": 0, "min_runs": 7, "min_seconds": 0,
        }  # fmt: skip
        answer = session.ask(
            {**request, "action": "latency"}, listen, purpose=Stage.LATENCY, silence=60
        )
        phases = [messages.samples(message, device.name) for message in heard]
        assert [phase for phase, _, _ in phases] == ["first", "warmup", "measure"]
        assert len(phases[2][2]) == 7 and (phases[2][2] > 0).all()
        assert answer.loaded["load_ns"] > 0 and answer.facts["memory_peak_bytes"]["end"] > 0
        assert answer.facts["threads_found"] == 1
        heard.clear()
        answer = session.ask(
            {**request, "action": "sweep", "count": 300}, listen, purpose=Stage.ACCURACY, silence=60
        )
    outputs = [messages.outputs(message, device.name, 300) for message in heard]
    assert sum(len(part) for _, _, part in outputs) == 300
    first = next(part for _, offset, part in outputs if offset == 0)
    assert first.dtype == np.int8 and first.shape[1:] == (10,)


def test_what_the_agent_refuses_is_an_error_with_its_reason(
    device: Device, digits: dict[str, Path]
) -> None:
    samples = blob(digits["samples"])
    with Session(device, "test") as session:
        session.push([samples], lambda *seen: None)
        with pytest.raises(AgentReportedError, match="no model file"):
            session.ask(
                {"action": "latency", "model": {"path": "/nonexistent"},
                 "samples": {"path": session.path(samples)}},
                lambda *seen: None, purpose=Stage.LATENCY, silence=30,
            )  # fmt: skip
        assert session.stage is Stage.LOAD


def test_one_session_at_a_time(device: Device) -> None:
    with Session(device, "the first one") as session:
        with pytest.raises(DeviceBusyError, match="the first one"):
            Session(device, "the second one").__enter__()
        session.push([], lambda *seen: None)
    with Session(device, "the third one"):
        pass


ODD = (
    "",
    "a b",
    "-n",
    "$(echo x)",
    "quo'te",
    'dou"ble',
    "new\nline",
    "back\\0101",
    "naïve",
    "*",
    "%s",
)


def test_a_file_that_is_damaged_on_the_device_is_sent_again(device: Device, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    file = blob(tmp_path / "file")
    with Session(device, "test") as session:
        assert session.push([file], lambda *seen: None) > 0
        assert session.push([file], lambda *seen: None) == 0
        spoil = 'printf x | dd of="$1" bs=1 seek=5000 conv=notrunc 2>/dev/null'
        session.transport.run(["sh", "-c", spoil, "x", session.path(file)])
        assert session.push([file], lambda *seen: None) == file.size
        assert session.clean().gone
        assert session.push([file], lambda *seen: None) > file.size - 1
