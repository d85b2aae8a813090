"""Bad models, bad data, bad devices: a clear record for that job, the others unharmed."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.errors import UsageError
from tests.support import needed, write_suite
from tests.support.sshd import Sshd

Cli = Callable[..., subprocess.CompletedProcess[str]]


def run(suite: Path, **options: Any) -> dict[str, dict[str, Any]]:
    """Run a suite; its rows by device, or by recipe where there is one device."""
    result = harness.run(suite, store=f"sqlite:///{suite.parent}/bad.db", **options)
    rows = result.rows()
    key = "device" if len({row["device"] for row in rows}) > 1 else "recipe"
    return {row[key]: {**row, "exit": result.outcome.exit_code} for row in rows}  # type: ignore[union-attr]


def lost_at_read(suite: Path) -> dict[str, Any]:
    """The one row of a suite whose model or dataset cannot be read."""
    (row,) = run(suite).values()
    assert (row["status"], row["stage"], row["exit"]) == ("failed", "read", 3), row
    return row


# -- models ----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["truncated", "empty", "foreign", "late"])
@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.tflite", "m.bin"])
def test_damaged_model_files_are_records_with_the_reason(
    digits: dict[str, Path], tmp_path: Path, name: str, damage: str
) -> None:
    good = digits["float32" if name == "m.tflite" else "model"].read_bytes()
    if name == "m.keras":
        with zipfile.ZipFile(tmp_path / "good", "w") as archive:
            archive.writestr("config.json", "{}" * 3000)
        good = (tmp_path / "good").read_bytes()
    data = {
        "truncated": good[: len(good) // 2],
        "late": good[:-100],
        "empty": b"",
        "foreign": b"\x89PNG\r\n\x1a\n" + bytes(5000),
    }[damage]
    (tmp_path / name).write_bytes(data)
    recipe = "as_is" if name.endswith("tflite") else "float32"
    row = lost_at_read(write_suite(tmp_path / "suite.toml", model=name, recipes=[recipe]))
    assert name in row["error"] and "model digits" in row["error"]


def test_a_model_whose_weights_alone_were_saved(digits: dict[str, Path], tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["layer/kernel"] = np.zeros((3, 3))
    rows = run(write_suite(tmp_path / "suite.toml", model="weights.h5"))
    assert rows["float32"]["status"] == "failed" and rows["float32"]["stage"] == "convert"
    assert "weights only" in rows["float32"]["error"] and rows["float32"]["exit"] == 3


def test_a_conversion_that_fails_leaves_the_other_models_alone(
    digits: dict[str, Path], tmp_path: Path
) -> None:
    import h5py

    with h5py.File(tmp_path / "broken.h5", "w") as file:
        file.attrs["model_config"] = '{"class_name": "Sequential", "config": {"layers": 3}}'
        file.attrs["keras_version"] = "2.15.0"
    suite = write_suite(tmp_path / "suite.toml")
    suite.write_text(
        suite.read_text().replace(
            "[dataset.data]",
            '[model.broken]\nfile = "broken.h5"\ndataset = "data"\n\n[dataset.data]',
        )
    )
    result = harness.run(suite, store=f"sqlite:///{tmp_path}/b.db")
    rows = {row["model"]: row for row in result.rows()}
    assert rows["digits"]["status"] == "ok"
    assert rows["broken"]["status"] == "failed" and rows["broken"]["stage"] == "convert"
    assert "Traceback" not in rows["broken"]["error"] and len(rows["broken"]["error"]) < 800


def test_recipes_that_a_source_does_not_allow(digits: dict[str, Path], tmp_path: Path) -> None:
    ready = write_suite(tmp_path / "a.toml", model=str(digits["int8"]), recipes=["int8"])
    with pytest.raises(UsageError, match="as_is"):
        run(ready)
    with pytest.raises(UsageError, match="as it is"):
        run(write_suite(tmp_path / "b.toml", recipes=["as_is"]))


def test_an_operator_that_the_runtime_lacks(digits: dict[str, Path], tmp_path: Path) -> None:
    """The last operator of a real model is renamed to a custom one that nobody has."""
    from ai_edge_litert import schema_py_generated as tfl
    from flatbuffers import Builder

    model = tfl.ModelT.InitFromPackedBuf(digits["float32"].read_bytes(), 0)
    code = model.operatorCodes[model.subgraphs[0].operators[-1].opcodeIndex]
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = 32, 32, b"NoSuchOperator"
    operator = model.subgraphs[0].operators[-1]
    operator.builtinOptions, operator.builtinOptionsType = None, 0
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "custom.tflite").write_bytes(bytes(builder.Output()))
    suite = write_suite(
        tmp_path / "suite.toml", model="custom.tflite", recipes=["as_is"],
        devices=["local", "pixel-3"],
    )  # fmt: skip
    rows = run(suite)
    for device in ("local", "pixel-3"):
        assert rows[device]["status"] == "failed" and rows[device]["stage"] == "load"
        assert "NoSuchOperator" in rows[device]["error"], rows[device]["error"]
        assert rows[device]["exit"] == 3


# -- data ------------------------------------------------------------------------------------


def npz(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "data.npz", **arrays)
    return 'source = "npz"\npath = "data.npz"'


GOOD = {"images": np.zeros((6, 8, 8), np.uint8), "labels": np.arange(6) % 3}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": np.arange(5)}, "6 samples and labels"),
        ({"labels": np.array(list("abcdef"))}, "not class indices"),
        ({"labels": np.array([0, 1, 2, 3, 4, -5])}, "negative"),
        ({"labels": np.linspace(0, 1, 6)}, "not class indices"),
        ({"images": np.array([object()] * 6)}, "cannot be read"),
        ({"images": np.array(["a"] * 6)}, "needs samples"),
        ({"images": np.full((6, 8, 8), np.nan, np.float32)}, "NaN"),
        ({"images": np.zeros((0, 8, 8), np.uint8), "labels": np.arange(0)}, "needs samples"),
        ({"images": np.array([["a"]] * 6)}, "not numbers"),
    ],
)
def test_datasets_that_make_no_sense(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    suite = write_suite(tmp_path / "suite.toml", dataset=npz(tmp_path, **{**GOOD, **change}))
    assert said in lost_at_read(suite)["error"]


def test_a_truncated_dataset_and_a_missing_array(tmp_path: Path) -> None:
    table = npz(tmp_path, **GOOD)
    suite = write_suite(tmp_path / "suite.toml", dataset=table + '\nsamples_key = "x_test"')
    assert "no array 'x_test', only images, labels" in lost_at_read(suite)["error"]
    whole = (tmp_path / "data.npz").read_bytes()
    (tmp_path / "data.npz").write_bytes(whole[:-200])
    suite = write_suite(tmp_path / "suite.toml", dataset=table)
    assert "data.npz cannot be read" in lost_at_read(suite)["error"]


def test_samples_that_do_not_fit_the_model(digits: dict[str, Path], tmp_path: Path) -> None:
    table = npz(tmp_path, images=np.zeros((6, 9, 9, 3), np.uint8), labels=np.arange(6))
    rows = run(write_suite(tmp_path / "suite.toml", dataset=table))
    assert rows["float32"]["status"] == "failed" and rows["float32"]["stage"] == "verify"
    assert "[9, 9, 3]" in rows["float32"]["error"] and "[8, 8, 1]" in rows["float32"]["error"]


def test_labels_that_do_not_match_the_outputs(digits: dict[str, Path], tmp_path: Path) -> None:
    table = npz(tmp_path, images=np.zeros((6, 8, 8), np.uint8), labels=np.arange(6) * 9)
    rows = run(write_suite(tmp_path / "a.toml", dataset=table))
    assert rows["float32"]["stage"] == "verify"
    assert "10 outputs" in rows["float32"]["error"] and "label 45" in rows["float32"]["error"]
    rows = run(write_suite(tmp_path / "b.toml", labels='labels = ["cat", "dog"]'))
    assert "10 outputs and 2 labels" in rows["float32"]["error"]


def test_calibration_samples_that_are_evaluated_are_refused(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (20, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "test.npz", images=images, labels=np.arange(20) % 10)
    np.savez(tmp_path / "train.npz", images=np.concatenate([255 - images, images[3:5]]))
    table = 'source = "npz"\npath = "test.npz"\ncalibration = "train.npz"'
    row = lost_at_read(write_suite(tmp_path / "suite.toml", dataset=table, recipes=["int8"]))
    assert "2 of 22 calibration samples" in row["error"]


def test_an_image_folder_with_an_empty_class_or_a_broken_image(tmp_path: Path) -> None:
    from PIL import Image

    for name in ("a", "b"):
        (tmp_path / "images" / name).mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "a" / "1.png")
    table = 'source = "image_folder"\npath = "images"\nimage_size = [8, 8]'
    suite = write_suite(tmp_path / "suite.toml", dataset=table)
    assert "holds no images" in lost_at_read(suite)["error"]
    (tmp_path / "images" / "b" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    assert "2.png is not a readable image" in lost_at_read(suite)["error"]


def test_odd_names_travel_as_text(digits: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "a b $(touch owned) <img src=x onerror=alert(1)>"
    folder.mkdir()
    model = folder / "-naïve 'quo\"te.tflite"
    model.write_bytes(digits["int8"].read_bytes())
    suite = write_suite(tmp_path / "suite.toml", recipes=["as_is"], devices=["local", "pixel-3"])
    text = suite.read_text().replace(
        'file = "builtin:digits_cnn"', f"file = {json.dumps(str(model))}"
    )
    name = json.dumps("<img src=x onerror=alert(1)> ; rm -rf /")
    suite.write_text(text.replace("[model.digits]", f"[model.{name}]"))
    rows = run(suite)
    assert {row["status"] for row in rows.values()} == {"ok"}
    assert rows["local"]["model"].startswith("<img")
    assert not (tmp_path / "owned").exists()


# -- devices ---------------------------------------------------------------------------------


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
    assert rows["none"]["stage"] == "push" and "no /nonexistent/python3" in rows["none"]["error"]
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
real = sweep._Engine._run
sweep._Engine._run = lambda self, values: real(self, values)[:, ::-1].copy()
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
    threading.Timer(3.0, sshd.cut).start()
    rows = run(suite)
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
    threading.Timer(3.5, sshd.stop).start()
    begin = time.monotonic()
    result = harness.run(suite, store=f"sqlite:///{tmp_path}/b.db")
    assert time.monotonic() - begin < 60
    rows = {(row["device"], row["recipe"]): row for row in result.rows()}
    for recipe in ("float32", "int8"):
        assert rows["pixel-3", recipe]["status"] == "ok"
        assert rows["board", recipe]["status"] == "failed"
        assert "ssh" in rows["board", recipe]["error"] or "link" in rows["board", recipe]["error"]
    assert result.outcome is not None and result.outcome.exit_code == 3


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
