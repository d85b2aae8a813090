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
from harness.errors import AgentReportedError, DeviceBusyError
from harness.orchestrate.environment import known_names
from harness.transports import TRANSPORTS
from tests.support import write_suite
from tests.support.sshd import start_sshd


@pytest.fixture(params=TRANSPORTS)
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Device]:
    def load(names: list[str], table: str = "") -> Device:
        path = write_suite(tmp_path / "suite.toml", devices=names, device=table)
        return load_suite(path, known_names()).devices[0]

    if request.param == "ssh":
        with start_sshd(tmp_path / "sshd") as server:
            yield load(["board"], server.device("board"))
    else:
        yield load([{"local": "local", "simulated": "raspberry-pi-4"}[request.param]])


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
