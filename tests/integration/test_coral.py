"""The Edge TPU's backend, with a delegate that really takes the compiled operator."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from device_agents.python import wire
from tests.support.agent import AgentProcess, exchange, request
from tests.support.coral import fake_library, fake_output
from tests.support.sshd import Sshd

FIRST, SECOND, CARD = "/sys/bus/usb/devices/1-2", "/sys/bus/usb/devices/2-1", "/dev/apex_0"


#: Keeps the bytes of a sample: the inputs' scale is 1/128, their zero point 128.
AS_STORED = {"scale": 1, "mean": [128], "std": [128]}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_library(tmp_path_factory.mktemp("libedgetpu"))


@pytest.fixture
def plugged(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Three accelerators; the file that gets the path of each one that is opened."""
    # In the order of libedgetpu, which is not that of the ports.
    monkeypatch.setenv("FAKE_EDGETPU_DEVICES", f"usb={SECOND} usb={FIRST} pci={CARD}")
    monkeypatch.setenv("FAKE_EDGETPU_UPLOAD_MS", "40")
    monkeypatch.setenv("FAKE_EDGETPU_LOG", str(tmp_path / "opened"))
    return tmp_path / "opened"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", rng.integers(0, 256, (4, 128, 128, 3), dtype=np.uint8))
    return tmp_path / "images.npy"


@pytest.fixture
def compiled(shared: Path) -> Path:
    return shared / "models" / "coral" / "mobilenet_v1_0.25_128_quant_edgetpu.tflite"


@pytest.fixture
def plain(shared: Path) -> Path:
    return shared / "models" / "coral" / "mobilenet_v1_0.25_128_quant.tflite"


def on_tpu(action: str, model: Path, images: Path, library: Path | str, **more: Any) -> Any:
    """A request for the Edge TPU."""
    light = {"warmup_runs": 1, "warmup_seconds": 0, "min_runs": 5, "min_seconds": 0}
    return request(
        action, model, images, accelerator="edgetpu", edgetpu_library=str(library),
        **{**(light if action == "latency" else {}), "preprocessing": AS_STORED, **more},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("device", "opened", "told"),
    [
        ("", SECOND, None),  # the library's own choice
        ("usb:0", FIRST, FIRST),
        ("usb:1", SECOND, SECOND),
        ("pci:0", CARD, CARD),
        ("pci", CARD, CARD),
        (":0", CARD, CARD),
    ],
)
def test_a_compiled_model_runs_on_the_chosen_accelerator(
    compiled: Path, images: Path, library: Path, plugged: Path, device: str, opened: str,
    told: str | None,
) -> None:  # fmt: skip
    asked = on_tpu("latency", compiled, images, library, accelerator_device=device)
    messages = exchange(asked)
    assert messages[-1]["type"] == "done", messages[-1]
    assert plugged.read_text().split() == [opened]
    phases = {
        message["phase"]: message["values"] for message in messages if message["type"] == "samples"
    }
    # The parameters go up with the first inference, which is apart from all others.
    assert len(phases["first"]) == 1 and len(phases["measure"]) >= 5
    assert phases["first"][0] >= 40e6
    facts = messages[-1]["facts"]
    assert facts["threads_found"] is None
    assert facts["delegated"] == {
        "accelerator": "edgetpu", "nodes": 1, "total": 1, "partitions": 1,
        "device": told,
        "library": "BuildLabel(fake), RuntimeVersion(14)",
    }  # fmt: skip


def test_the_delegate_computes_what_is_sent(
    compiled: Path, images: Path, library: Path, plugged: Path
) -> None:
    messages = exchange(on_tpu("sweep", compiled, images, library))
    assert messages[-1]["type"] == "done", messages[-1]
    assert messages[-1]["facts"]["delegated"]["accelerator"] == "edgetpu"
    (outputs,) = [message for message in messages if message["type"] == "outputs"]
    expected = b"".join(fake_output(sample.tobytes(), 1001) for sample in np.load(images))
    assert (
        hashlib.sha256(wire.unpack(outputs["data"])).digest() == hashlib.sha256(expected).digest()
    )


def test_operators_behind_the_compiled_one_stay_on_the_cpu(
    shared: Path, tmp_path: Path, library: Path, plugged: Path
) -> None:
    model = shared / "models" / "coral" / "deeplabv3_mnv2_dm05_pascal_quant_edgetpu.tflite"
    np.save(tmp_path / "image.npy", np.zeros((1, 513, 513, 3), np.uint8))
    done = exchange(on_tpu("latency", model, tmp_path / "image.npy", library))[-1]
    assert done["type"] == "done", done
    delegated = done["facts"]["delegated"]
    assert [delegated[key] for key in ("nodes", "total", "partitions")] == [1, 9, 1]


def refused(*arguments: Any, **more: Any) -> dict[str, Any]:
    """The error that ends a request, after nothing was measured."""
    messages = exchange(on_tpu("latency", *arguments, **more))
    assert [message["type"] for message in messages] == ["hello", "error"], messages
    return messages[-1]


def test_no_model_runs_on_the_cpu_under_the_name_edgetpu(
    plain: Path, compiled: Path, images: Path, library: Path, plugged: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    error = refused(plain, images, library)
    assert error["kind"] == "unsupported_accelerator" and "not compiled" in error["message"]
    assert "edgetpu_compiler" in error["hint"] and not plugged.exists()
    monkeypatch.setenv("FAKE_EDGETPU_FAULT", "unclaimed")
    error = refused(compiled, images, library)
    assert error["kind"] == "unsupported_accelerator" and "did not take" in error["message"]


def test_a_compiled_model_on_the_cpu(compiled: Path, images: Path) -> None:
    error = exchange(request("latency", compiled, images, preprocessing={}))[-1]
    assert (
        error["kind"] == "unsupported_operator" and "compiled for the Edge TPU" in error["message"]
    )
    assert "backend edgetpu" in error["hint"]


@pytest.mark.parametrize("backend", ["edgetpu", "cpu x1"])
def test_a_compiled_model_on_a_simulated_device(
    compiled: Path, plain: Path, tmp_path: Path, backend: str
) -> None:
    """Its package hides what would be modelled: no advice that was already followed."""
    device = "coral-usb" if backend == "edgetpu" else "pixel-3"
    found = harness.ab(
        compiled, plain, device=device, backend=backend, store=f"sqlite:///{tmp_path}/ab.db"
    )
    row = next(row for row in found.rows() if row["model"] == compiled.stem)
    assert row["status"] == "unsupported" and found.contest.exit_code == 3
    assert f"{device} is simulated" in row["error"] and "hides the operators" in row["error"]
    assert "give the file that it was compiled from" in row["error"]
    assert "choose the backend" not in row["error"]


def test_a_library_that_is_not_installed(compiled: Path, images: Path) -> None:
    error = refused(compiled, images, "libedgetpu_not_here.so.1")
    assert error["kind"] == "accelerator_unavailable" and "not installed" in error["message"]
    assert "libedgetpu1-std" in error["hint"]


def test_a_library_that_is_none(compiled: Path, images: Path, tmp_path: Path) -> None:
    error = refused(compiled, images, images)
    assert error["kind"] == "accelerator_unavailable" and "cannot be loaded" in error["message"]
    runtime = Path(sys.modules["numpy"].__file__ or "").parent / "_core"
    other = next(runtime.glob("_multiarray_umath*.so"))
    error = refused(compiled, images, other)
    assert error["kind"] == "accelerator_unavailable", error


@pytest.mark.parametrize(
    ("setting", "value", "device", "kind", "said"),
    [
        ("FAKE_EDGETPU_DEVICES", "", "usb:0", "accelerator_unavailable", "not plugged in"),
        ("FAKE_EDGETPU_DEVICES", "", "", "accelerator_unavailable", "not plugged in"),
        ("FAKE_EDGETPU_LOG", "", "usb:2", "accelerator_unavailable",
         f"this device has usb:0 ({FIRST}), usb:1 ({SECOND})"),
        ("FAKE_EDGETPU_TAKEN", CARD, "pci:0", "accelerator_busy", "pci:0 cannot be opened"),
        ("FAKE_EDGETPU_TAKEN", CARD, "pci", "accelerator_busy", "it is taken"),
        ("FAKE_EDGETPU_FAULT", "misfit", "usb:1", "accelerator_unavailable",
         "RuntimeVersion(14)) and ai_edge_litert"),
    ],
)  # fmt: skip
def test_each_reason_has_its_own_message(
    compiled: Path, images: Path, library: Path, plugged: Path, monkeypatch: pytest.MonkeyPatch,
    setting: str, value: str, device: str, kind: str, said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv(setting, value)
    error = refused(compiled, images, library, accelerator_device=device)
    assert error["kind"] == kind and said in error["message"], error
    assert error["hint"]


def test_cores_are_kept_to(plain: Path, images: Path) -> None:
    core = max(os.sched_getaffinity(0))
    asked = request("latency", plain, images, preprocessing={}, min_runs=1, min_seconds=0,
                    warmup_seconds=0, threads=2)  # fmt: skip
    agent = AgentProcess()
    agent.hear()
    agent.say({**asked, "cores": [core], "min_seconds": 30})
    while agent.hear()["type"] != "samples":
        pass
    tasks = Path(f"/proc/{agent.process.pid}/task")
    allowed = {int(task.name): os.sched_getaffinity(int(task.name)) for task in tasks.iterdir()}
    agent.close()
    assert len(allowed) >= 3 and set(map(frozenset, allowed.values())) == {frozenset({core})}
    for cores, found in (([core], [core]), ([900], sorted(os.sched_getaffinity(0)))):
        done = exchange({**asked, "cores": cores})[-1]
        assert done["facts"]["cores"] == found, done
    for wrong in ([], ["a"], [-1], [True], 1):
        assert exchange({**asked, "cores": wrong})[-1]["kind"] == "bad_request"


def test_operators_are_not_the_python_agents(plain: Path, images: Path) -> None:
    error = exchange(request("operators", plain, images))[-1]
    assert error["kind"] == "unsupported" and "native" in error["hint"]


# -- the whole way --------------------------------------------------------------------------

SUITE = """
name = "coral"
recipes = ["as_is"]
devices = {devices}

[model.compiled]
file = "{compiled}"
dataset = "images"
preprocessing = {{ mean = 128, std = 128 }}

[model.plain]
file = "{plain}"
dataset = "images"
preprocessing = {{ mean = 128, std = 128 }}

[dataset.images]
source = "npz"
path = "{npz}"
{tables}
[policy]
trials = 1
warmup_runs = 1
warmup_seconds = 0.0
min_runs = 5
min_seconds = 0.0
retry_delay = 0.01
output_checks = 2
"""


def run(folder: Path, compiled: Path, plain: Path, tables: str, *devices: str) -> dict[Any, Any]:
    """Rows of a suite over both models, by (device, model)."""
    rng = np.random.default_rng(0)
    np.savez(
        folder / "images.npz",
        images=rng.integers(0, 256, (3, 128, 128, 3), dtype=np.uint8),
        labels=np.arange(3),
    )
    suite = folder / "suite.toml"
    suite.write_text(
        SUITE.format(
            devices=str(list(devices)).replace("'", '"'), compiled=compiled, plain=plain,
            npz=folder / "images.npz", tables=tables,
        )
    )  # fmt: skip
    result = harness.run(suite, store=f"sqlite:///{folder}/coral.db")
    return {(row["device"], row["model"]): row for row in result.rows()}


def device(name: str, library: Path, edgetpu: str) -> str:
    return f"""
[device.{name}]
transport = "local"
accelerators = ["edgetpu"]
edgetpu = "{edgetpu}"
edgetpu_library = "{library}"
"""


def test_several_accelerators_are_several_devices(
    compiled: Path, plain: Path, library: Path, plugged: Path, tmp_path: Path
) -> None:
    tables = device("left", library, "usb:0") + device("right", library, "usb:1")
    tables += device("far", library, "").replace('"local"', '"ssh"\nhost = "127.0.0.1"\nport = 1')
    rows = run(tmp_path, compiled, plain, tables, "left", "right", "local", "coral-usb", "far")
    for name in ("left", "right"):
        row = rows[name, "compiled"]
        assert row["status"] == "ok", row["error"]
        assert row["backend"] == "edgetpu"
        # Upload apart from steady state.
        assert row["first_inference_ms"] >= 40 > row["latency_median_ms"] > 0
        refusal = rows[name, "plain"]
        assert refusal["status"] == "unsupported" and "edgetpu_compiler" in refusal["error"]
        assert refusal["stage"] == "verify"
    # Nobody needs to reach a device to know that it cannot.
    assert rows["far", "compiled"]["status"] == "failed"
    assert rows["far", "plain"]["status"] == "unsupported"
    # One sweep and one trial each.
    assert sorted(plugged.read_text().split()) == [FIRST, FIRST, SECOND, SECOND]
    assert rows["local", "plain"]["status"] == "ok"
    assert rows["local", "compiled"]["status"] == "unsupported"
    assert "choose the backend edgetpu" in rows["local", "compiled"]["error"]
    # The simulated one stands for the variant as it would be compiled.
    assert rows["coral-usb", "plain"]["status"] == "ok"
    assert rows["coral-usb", "plain"]["kind"] == "simulated"


def test_a_taken_accelerator_is_tried_again(
    compiled: Path, plain: Path, library: Path, plugged: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("FAKE_EDGETPU_TAKEN", FIRST)
    rows = run(tmp_path, compiled, plain, device("left", library, "usb:0"), "left")
    row = rows["left", "compiled"]
    assert row["status"] == "failed" and "it is taken" in row["error"]
    import sqlite3

    with sqlite3.connect(tmp_path / "coral.db") as store:
        (count,) = store.execute("select count(*) from trials where status = 'failed'").fetchone()
    assert count == 2


def test_an_accelerator_behind_ssh(
    compiled: Path, plain: Path, library: Path, tmp_path: Path, sshd: Sshd
) -> None:
    """The server's environment is its own: the wrapper plugs the accelerator in there."""
    python = tmp_path / "python"
    python.write_text(
        f"#!/bin/sh\nFAKE_EDGETPU_DEVICES='pci={CARD}' exec {sys.executable} \"$@\"\n"
    )
    python.chmod(0o755)
    table = (
        sshd.device(
            "coral-board", python=str(python), edgetpu="pci:0", edgetpu_library=str(library)
        )
        + 'accelerators = ["edgetpu", "cpu"]\ndefault_backend = "edgetpu"\n'
    )
    rows = run(tmp_path, compiled, plain, table, "coral-board")
    assert rows["coral-board", "compiled"]["status"] == "ok", rows["coral-board", "compiled"]
    assert rows["coral-board", "plain"]["status"] == "unsupported"
