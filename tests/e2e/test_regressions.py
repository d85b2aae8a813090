"""Cases that were wrong once."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.errors import UsageError
from harness.store import Store
from tests.e2e.test_resume import start, wait_for_trials
from tests.support import harness_command, write_suite
from tests.support.agent import exchange, request
from tests.support.sshd import Sshd, when_connected

Cli = Callable[..., subprocess.CompletedProcess[str]]


def write_npz(folder: Path, images: Any, labels: Any) -> str:
    np.savez(folder / "data.npz", images=images, labels=labels)
    return 'source = "npz"\npath = "data.npz"'


def test_a_model_that_cannot_be_batched(shared: Path, tmp_path: Path) -> None:
    """resize_tensor_input accepts a batch that the graph then cannot run."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (30, 160, 160, 3), dtype=np.uint8)
    suite = write_suite(
        tmp_path / "suite.toml", recipes=["as_is"],
        model=str(shared / "models/coral/mobilenet_v1_0.5_160_quant.tflite"),
        dataset=write_npz(tmp_path, images, rng.integers(0, 1001, 30)),
    )  # fmt: skip
    (row,) = harness.run(suite, store=f"sqlite:///{tmp_path}/s.db").rows()
    assert row["status"] == "ok" and row["samples"] == 30, row["error"]


def test_the_state_of_a_recurrent_model_ends_with_its_sample(shared: Path, tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    from device_agents.python import wire

    path = shared / "models/coral/keras_lstm_mnist_ptq.tflite"
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (detail,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    shape = tuple(detail["shape"][1:])
    samples = np.random.default_rng(0).integers(0, 256, (40, *shape)).astype(np.uint8)
    np.save(tmp_path / "s.npy", samples)
    messages = exchange(
        {**request("sweep", path, tmp_path / "s.npy", workers=2, reset_variables=True),
         "preprocessing": {"scale": 1 / 255}}
    )  # fmt: skip
    assert messages[-1]["type"] == "done" and messages[-1]["facts"]["batch"] == 1
    first = next(message for message in messages if message["type"] == "outputs")
    found = np.frombuffer(wire.unpack(first["data"]), first["dtype"]).reshape(first["shape"])
    scale, zero_point = detail["quantization"]
    for index, sample in enumerate(samples):
        fresh = Interpreter(model_path=str(path), num_threads=1)
        fresh.allocate_tensors()
        real = sample.astype(np.float32) * np.float32(1 / 255)
        if scale:
            limits = np.iinfo(detail["dtype"])
            real = np.rint(real / np.float32(scale)) + np.float32(zero_point)
            real = np.clip(real, limits.min, limits.max)
        fresh.set_tensor(detail["index"], real[None].astype(detail["dtype"]))
        fresh.invoke()
        assert np.array_equal(found[index], fresh.get_tensor(out["index"])[0])


@pytest.mark.slow
@pytest.mark.parametrize("what", ["model", "dataset", "labels"])
def test_a_resumed_run_refuses_a_file_that_has_changed(
    tmp_path: Path, cli: Cli, digits: dict[str, Path], what: str
) -> None:
    model = tmp_path / "swap.tflite"
    model.write_bytes(digits["float32"].read_bytes())
    images = np.load(digits["samples"])[:60]
    table = write_npz(tmp_path, images, np.zeros(60, int))
    suite = write_suite(
        tmp_path / "suite.toml", recipes=["as_is"], model="swap.tflite", dataset=table, trials=3
    )
    suite.write_text(suite.read_text().replace("min_seconds = 0.01", "min_seconds = 1.0"))
    process = start(tmp_path, suite)
    run = wait_for_trials(tmp_path, 2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    if what == "model":
        model.write_bytes(digits["int8"].read_bytes())
    elif what == "dataset":
        write_npz(tmp_path, images[::-1].copy(), np.zeros(60, int))
    else:
        write_npz(tmp_path, images, np.ones(60, int))
    refused = cli("run", "--resume", run)
    assert refused.returncode == 2 and "is not the one that this run began with" in refused.stderr
    model.write_bytes(digits["float32"].read_bytes())
    write_npz(tmp_path, images, np.zeros(60, int))
    assert cli("run", "--resume", run).returncode == 0


def test_a_blob_that_rotted_on_the_device_is_sent_again(
    digits: dict[str, Path], tmp_path: Path
) -> None:
    work = tmp_path / "device"
    suite = write_suite(
        tmp_path / "suite.toml", devices=["here"],
        device=f'\n[device.here]\ntransport = "local"\nwork_dir = "{work}"\n',
    )  # fmt: skip
    (first,) = harness.run(suite, store=f"sqlite:///{tmp_path}/s.db").rows()
    for blob in (work / "blobs").iterdir():
        data = blob.read_bytes()
        blob.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    (again,) = harness.run(suite, store=f"sqlite:///{tmp_path}/s.db").rows()
    assert again["status"] == "ok" and again["accuracy"] == first["accuracy"]


def test_a_model_that_crashes_the_runtime_ends_only_its_jobs(
    shared: Path, cli: Cli, tmp_path: Path
) -> None:
    """One byte of a real model, changed, takes the runtime down with a signal."""
    data = bytearray((shared / "models/coral/keras_lstm_mnist_ptq.tflite").read_bytes())
    data[11210] = 255
    (tmp_path / "crash.tflite").write_bytes(data)
    (tmp_path / "good.tflite").write_bytes(
        (shared / "models/coral/keras_lstm_mnist_ptq.tflite").read_bytes()
    )
    table = write_npz(tmp_path, np.zeros((12, 28, 28), np.uint8), np.arange(12) % 10)
    suite = write_suite(
        tmp_path / "suite.toml", recipes=["as_is"], model="crash.tflite", dataset=table,
        devices=["raspberry-pi-4", "local"],
    )  # fmt: skip
    suite.write_text(
        suite.read_text().replace(
            "[dataset.data]", '[model.good]\nfile = "good.tflite"\ndataset = "data"\n[dataset.data]'
        )
    )
    done = cli("run", str(suite), "--format", "json")
    assert done.returncode == 3, done.stderr
    rows = {(row["model"], row["device"]): row for row in json.loads(done.stdout)}
    assert rows["good", "local"]["status"] == rows["good", "raspberry-pi-4"]["status"] == "ok"
    simulated, real = rows["digits", "raspberry-pi-4"], rows["digits", "local"]
    assert simulated["stage"] == "verify" and "crashed" in simulated["error"]
    assert real["status"] == "failed" and "died" in real["error"]


def test_a_device_lost_for_good_during_its_sweeps(
    digits: dict[str, Path], tmp_path: Path, sshd: Sshd
) -> None:
    script = tmp_path / "python"
    script.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        f"real = {sys.executable!r}\n"
        "if sys.argv[1] == '-c': os.execv(real, [real, *sys.argv[1:]])\n"
        f"os.kill({sshd.process.pid}, 9)\nos.kill(os.getppid(), 9)\n"
    )
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    suite = write_suite(
        tmp_path / "suite.toml", recipes=["float32", "int8"], devices=["board", "pixel-3"],
        device=sshd.device("board", python=str(script)),
    )  # fmt: skip
    result = harness.run(suite, store=f"sqlite:///{tmp_path}/s.db")
    rows = result.rows()
    assert [row["status"] for row in rows] == ["failed", "failed", "ok", "ok"], rows
    assert result.view.run.status == "finished"


#: Answers like a device, but lies: see ``mode``.
LIAR = """
import os, sys, json
import numpy  # as slow to start as a real one
mode = {mode!r}
def say(**message): print(json.dumps(message), flush=True)
spec = {{"name": "x", "shape": [1, 10], "dtype": "float32", "scale": 0.0, "zero_point": 0}}
say(type="hello", protocol=1, agent="liar", platform={{"cpu_count": 1}}, numpy="2",
    clock={{"name": "c", "resolution_ns": "abc" if mode == "clock" else 50}},
    runtime={{"name": "r", "version": "1"}}, problem=None)
request = json.loads(sys.stdin.readline())
if mode == "spec": spec["zero_point"] = "many"
if mode != "noload": say(type="loaded", load_ns=1, init_ns=1, inputs=[spec], outputs=[spec])
import base64
def outputs(offset, rows, width=10):
    data = base64.b64encode(bytes(4 * rows * width)).decode()
    say(type="outputs", offset=offset, shape=[rows, width], dtype="float32", data=data)
if request["action"] == "sweep":
    if mode == "twice":
        while True: outputs(0, 1)
    if mode == "width": outputs(0, 1); outputs(1, 1, 7)
    outputs(0, request["count"])
else:
    if mode == "forever":
        while True: say(type="samples", phase="measure", unit="ns", at=[1] * 500, values=[1] * 500)
    if mode != "nosamples":
        say(type="samples", phase="measure", unit="ns", at=[1, 2], values=[10, 20])
say(type="done", id=None, facts={{"memory_peak_bytes": {{}}}})
"""


@pytest.mark.parametrize(
    ("mode", "stage"),
    [
        ("clock", "start"), ("spec", "load"), ("noload", "load"), ("twice", "accuracy"),
        ("width", "accuracy"), ("forever", "latency"),
        ("nosamples", "latency"), ("honest", "done"),
    ],
)  # fmt: skip
def test_devices_that_lie_lose_only_their_own_jobs(
    digits: dict[str, Path], tmp_path: Path, mode: str, stage: str
) -> None:
    script = tmp_path / "python"
    script.write_text(f"#!{sys.executable}\n" + LIAR.format(mode=mode))
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    suite = write_suite(
        tmp_path / "suite.toml", devices=["odd", "pixel-3"], policy="max_runs = 1000",
        device=f'\n[device.odd]\ntransport = "local"\npython = "{script}"\n',
    )  # fmt: skip
    odd, fine = harness.run(suite, store=f"sqlite:///{tmp_path}/s.db").rows()
    assert odd["stage"] == stage, odd["error"]
    assert odd["status"] == ("ok" if mode == "honest" else "failed")
    assert "defect" not in (odd["error"] or "")
    assert fine["status"] == "ok"


def test_known_hosts_with_lines_that_nobody_understands(
    sshd: Sshd, digits: dict[str, Path], tmp_path: Path
) -> None:
    good = sshd.known_hosts.read_text()
    sshd.known_hosts.write_text(
        f"host ssh-rsa !!!notbase64\n\n# words\n@revoked x y z\nabc\n{good}"
    )
    suite = write_suite(tmp_path / "suite.toml", devices=["board"], device=sshd.device("board"))
    (row,) = harness.run(suite, store=f"sqlite:///{tmp_path}/s.db").rows()
    assert row["status"] == "ok", row["error"]


@pytest.mark.slow
def test_a_server_that_accepts_and_never_answers(
    sshd: Sshd, digits: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.transports import ssh

    monkeypatch.setattr(ssh, "ANSWER_TIMEOUT", 2)
    monkeypatch.setattr("harness.devices.lease._ANSWER", 4)
    suite = write_suite(
        tmp_path / "suite.toml", devices=["board"], device=sshd.device("board"),
        policy="retries = 0\nsilence_timeout = 3",
    )  # fmt: skip
    stopped: list[int] = []

    def freeze() -> None:
        for pid in sshd.sessions():
            stopped.append(pid)
            os.kill(pid, signal.SIGSTOP)

    suite.write_text(suite.read_text().replace("min_seconds = 0.01", "min_seconds = 20.0"))
    when_connected(sshd, 1.5, freeze)
    begin = time.monotonic()
    try:
        (row,) = harness.run(suite, store=f"sqlite:///{tmp_path}/s.db").rows()
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    assert row["status"] == "failed" and stopped
    assert time.monotonic() - begin < 90


def test_jumps_with_a_user_and_a_port(sshd: Sshd, tmp_path: Path) -> None:
    from harness.transports.ssh_config import resolve

    known = sshd.known_hosts.read_text()
    sshd.known_hosts.write_text(known + known.replace("127.0.0.1", "localhost"))
    config = tmp_path / "config"
    config.write_text(
        f"Host localhost\n  IdentityFile {sshd.key}\n  UserKnownHostsFile {sshd.known_hosts}\n"
        f"Host board\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n"
        f"  IdentityFile {sshd.key}\n  UserKnownHostsFile {sshd.known_hosts}\n"
        f"  ProxyJump {sshd.user}@localhost:{sshd.port}\n"
    )
    suite = write_suite(
        tmp_path / "suite.toml", devices=["board"],
        device=sshd.device("board", host="board", port=None, user=None, identity_file=None,
                           known_hosts=None, ssh_config=str(config)),
    )  # fmt: skip
    assert resolve("board", config=str(config)).proxy[:1] == ("ssh",)
    (row,) = harness.run(suite, store=f"sqlite:///{tmp_path}/s.db").rows()
    assert row["status"] == "ok", row["error"]


def test_a_new_store_opened_by_two_at_once(tmp_path: Path) -> None:
    code = f"from harness.store import Store\nStore('sqlite:///{tmp_path}/new.db').runs()"
    both = [
        subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in both:
        _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr
    assert not list(tmp_path.glob(".new.db*"))


@pytest.mark.slow
def test_progress_that_nobody_reads_does_not_stop_a_run(
    digits: dict[str, Path], tmp_path: Path
) -> None:
    suite = write_suite(tmp_path / "suite.toml", recipes=["float32", "int8"])
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [*harness_command(), "run", str(suite)], cwd=tmp_path, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=writing,
    )  # fmt: skip
    os.close(writing)
    os.read(reading, 10)
    os.close(reading)
    process.wait(100)
    with Store(f"sqlite:///{tmp_path}/results/harness.db", create=False) as store:
        (run,) = store.runs()
        assert run.status == "finished" and store.counts(run.id) == {"ok": 2}


def test_outputs_that_are_no_classes_get_no_top1(shared: Path, tmp_path: Path) -> None:
    path = shared / "models/coral/deeplabv3_mnv2_dm05_pascal_quant.tflite"
    images = np.zeros((2, 513, 513, 3), np.uint8)
    suite = write_suite(
        tmp_path / "suite.toml", recipes=["as_is"], model=str(path),
        dataset=write_npz(tmp_path, images, np.zeros(2, int)),
    )  # fmt: skip
    (row,) = harness.run(suite, store=f"sqlite:///{tmp_path}/s.db").rows()
    assert row["stage"] == "verify" and "top-1 says nothing" in row["error"]
    latency = suite.read_text() + 'measure = ["latency"]\n'
    suite.write_text(latency)
    (row,) = harness.run(suite, store=f"sqlite:///{tmp_path}/s.db").rows()
    assert row["status"] == "ok" and row["accuracy"] is None and row["latency_median_ms"] > 0


def test_accuracy_alone_uses_every_processor(digits: dict[str, Path], tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite.toml", policy='measure = ["accuracy"]')
    result = harness.run(suite, store=f"sqlite:///{tmp_path}/s.db")
    (record,) = result.view.jobs
    wanted = min(os.cpu_count() or 1, -(-697 // 250))
    assert record.facts["sweep"]["workers"] == wanted
    (row,) = result.rows()
    assert row["accuracy"] > 0.9 and row["latency_median_ms"] is None and row["memory_peak_mb"] > 5


@pytest.mark.parametrize(
    "change", ["seed = -1", "trials = 1e99", 'measure = ["speed"]', "max_seconds = nan"]
)
def test_policy_values_that_would_fail_late_are_refused_at_once(
    tmp_path: Path, change: str
) -> None:
    suite = write_suite(tmp_path / "suite.toml", policy=change)
    if change.startswith("trials"):
        suite.write_text(suite.read_text().replace("trials = 1\n", "", 1))
    with pytest.raises(UsageError, match=r"suite\.toml:\d+: "):
        harness.run(suite, store=f"sqlite:///{tmp_path}/s.db")


def test_a_name_that_could_fool_a_terminal_is_refused(tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite.toml", model_name='"\\u001b]0;owned"')
    with pytest.raises(UsageError, match="cannot be printed"):
        harness.run(suite, store=f"sqlite:///{tmp_path}/s.db")


def test_a_limit_takes_samples_of_every_class(tmp_path: Path) -> None:
    from harness.datasets import SOURCES, load_dataset
    from harness.domain import Dataset

    write_npz(tmp_path, np.arange(300).reshape(30, 10).astype(np.int16), np.arange(30) // 10)
    loaded = load_dataset(Dataset("d", "npz", tmp_path / "data.npz", limit=6), SOURCES)
    assert sorted(set(loaded.labels.tolist())) == [0, 1, 2] and len(loaded.samples) == 6


def test_a_preprocessing_for_other_channels(digits: dict[str, Path], tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite.toml")
    suite.write_text(suite.read_text().replace("scale = 0.0625", "mean = [1.0, 2.0]"))
    (row,) = harness.run(suite, store=f"sqlite:///{tmp_path}/s.db").rows()
    assert row["stage"] == "read" and "2 values" in row["error"] and "1 channels" in row["error"]


def test_more_threads_than_a_simulated_device_has(tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite.toml", devices=["pixel-3"])
    suite.write_text('backends = ["cpu x64"]\n' + suite.read_text())
    with pytest.raises(UsageError, match=r":1: device pixel-3 has 8 cores, not 64"):
        harness.run(suite, store=f"sqlite:///{tmp_path}/s.db")


def test_one_trial_has_no_interval(digits: dict[str, Path], tmp_path: Path) -> None:
    suite = write_suite(tmp_path / "suite.toml", devices=["pixel-3"])
    result = harness.run(suite, store=f"sqlite:///{tmp_path}/s.db")
    (row,) = result.rows()
    assert row["latency_median_ms"] > 0 and row["latency_low_ms"] is None
    assert "few_trials" in row["advisories"] and "±?" in result.text("table")
    assert repr(result).startswith("<run ") and "<table" in result._repr_html_()
