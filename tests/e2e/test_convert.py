"""``harness convert``: every source and recipe as files, and what cannot be converted."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from harness.recipes import RECIPES, parse_recipe
from harness.simulation import read_graph
from tests.e2e.rows import printed_rows
from tests.support import harness_command, needed
from tests.support.conversions import PLAIN

Cli = Callable[..., subprocess.CompletedProcess[str]]


def command(
    folder: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """The ``cli`` fixture for fixtures that many tests share."""
    return subprocess.run(
        [*harness_command(), "convert", *arguments], cwd=folder, env={**os.environ, **(env or {})},
        capture_output=True, text=True, timeout=170, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


# -- files, manifests, cache -------------------------------------------------------------------


@pytest.fixture(scope="module")
def converted(
    digits: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> subprocess.CompletedProcess[str]:
    """Everything that applies to the digits, made in a cache that is empty but for the model."""
    folder = tmp_path_factory.mktemp("converted")
    models = folder / "cache" / "host" / "models"
    models.mkdir(parents=True)
    shutil.copy(digits["model"], models)
    (folder / "tmp").mkdir()
    done = command(
        folder, "builtin:digits_cnn", "--recipe", "all", "--calibration", "digits",
        "--scale", "0.0625", "--out", "out", "--format", "json",
        env={"HARNESS_CACHE": str(folder / "cache"), "TMPDIR": str(folder / "tmp")},
    )  # fmt: skip
    assert not list((folder / "tmp").iterdir()) + list((folder / "cache/host/work").iterdir())
    done.args = folder
    return done


def test_every_recipe_that_applies_with_its_manifest(
    converted: subprocess.CompletedProcess[str],
) -> None:
    folder: Path = converted.args
    found = printed_rows(converted)
    assert set(found) == set(RECIPES)
    assert [name for name in found if found[name]["status"] == "ok"] == PLAIN
    assert "--train" in found["qat_int8"]["reason"]
    assert "keep_float" in found["int8_selective"]["reason"]
    for name in PLAIN:
        row = found[name]
        content = (folder / row["file"]).read_bytes()
        assert Path(row["file"]).name == f"digits_cnn_{name}.tflite"
        assert row["sha256"] == hashlib.sha256(content).hexdigest()
        assert row["size_bytes"] == len(content) and row["cached"] is False
        manifest = row["manifest"]
        assert manifest == json.loads((folder / row["manifest_file"]).read_text())
        assert manifest["gzip_bytes"] == len(gzip.compress(content, 9, mtime=0))
        assert manifest["recipe"] == parse_recipe(name).identity
        assert manifest["peak_memory_bytes"] > 10_000_000 and 0 < manifest["seconds"] < 170
        assert manifest["converter"]
        calibrated = RECIPES[name].needs_calibration
        assert manifest.get("calibration_samples") == (200 if calibrated else None)
    assert found["int8"]["size_bytes"] < found["float32"]["size_bytes"] / 3


@pytest.mark.slow
def test_the_same_inputs_give_the_same_bytes(
    converted: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    """Another cache, another process: what the first made is made again, bit by bit."""
    model = converted.args / "cache" / "host" / "models"
    shutil.copytree(model, tmp_path / "cache" / "host" / "models")
    again = command(
        tmp_path, "builtin:digits_cnn", "--recipe", "all", "--calibration", "digits",
        "--scale", "0.0625", "--format", "json",
        env={"HARNESS_CACHE": str(tmp_path / "cache")},
    )  # fmt: skip
    first, second = printed_rows(converted), printed_rows(again)
    for name in PLAIN:
        assert second[name]["cached"] is False
        assert second[name]["sha256"] == first[name]["sha256"], name


def test_what_is_there_takes_no_tensorflow(
    converted: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    for name in ("tensorflow", "tf_keras", "ai_edge_quantizer", "keras"):
        (tmp_path / "poison" / name).mkdir(parents=True)
        (tmp_path / "poison" / name / "__init__.py").write_text("raise SystemExit(99)\n")
    path = os.pathsep.join([str(tmp_path / "poison"), os.environ.get("PYTHONPATH", "")])
    env = {"HARNESS_CACHE": str(converted.args / "cache"), "PYTHONPATH": path}
    recipes = [argument for name in PLAIN for argument in ("-r", name)]
    done = command(
        tmp_path, "builtin:digits_cnn", *recipes, "--calibration", "digits", "--scale", "0.0625",
        "--format", "json", env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = printed_rows(converted), printed_rows(done)
    assert list(second) == PLAIN
    for name in PLAIN:
        assert second[name]["cached"] is True
        assert second[name]["manifest"] == first[name]["manifest"]
        content = (tmp_path / second[name]["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == first[name]["sha256"]
    # And the poison works.
    lost = command(tmp_path, "builtin:digits_cnn", "--scale", "0.125", env=env)
    assert lost.returncode == 3 and "99" in lost.stderr


def test_all_without_samples_skips_what_needs_them(
    converted: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    done = command(
        tmp_path, "builtin:digits_cnn", "--recipe", "all", "--scale", "0.0625", "--format", "json",
        env={"HARNESS_CACHE": str(converted.args / "cache")},
    )  # fmt: skip
    found = printed_rows(done)
    assert done.returncode == 0, done.stderr
    free = [name for name in PLAIN if not RECIPES[name].needs_calibration]
    assert [name for name in found if found[name]["status"] == "ok"] == free
    assert "--calibration" in found["int8"]["reason"]
    assert all(found[name]["cached"] for name in free)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("m.h5", "--recipe", "int9"), "unknown recipe 'int9'"),
        (("m.h5", "--recipe", "int8(calibraton=1)"), "did you mean 'calibration'"),
        (("m.h5", "--format", "csv"), "unknown format 'csv'"),
        (("m.h5", "--recipe", "int8"), "--calibration"),
        (("m.h5", "--recipe", "qat_int8", "--calibration", "digits"), "--train"),
        (("m.h5", "--recipe", "as_is"), "not a .tflite file"),
        (("m.h5", "--recipe", "int8", "--calibration", "gone.npz"), "no dataset gone.npz"),
        (("m.h5", "--mean", "a"), "--mean"),
        (("m.h5", "--mean", "nan"), "--mean"),
        (("m.h5", "--timeout", "0"), "--timeout"),
        (("m.h5", "--out", "m.h5"), "cannot make the folder"),
        (("gone.h5",), "there is no file"),
        (("half.h5",), "truncated"),
        (("garbage.h5",), "not an HDF5 file"),
        (("half.keras",), "truncated"),
        (("named.keras",), "name it .h5"),
        (("keras:MobileNetV9",), "unknown architecture"),
        (("builtin:digit_cnn",), "'digits_cnn'"),
        (("gone.module:make",), "no Python module gone.module"),
        (("empty",), "saved_model.pb"),
        (("m.h5", "-r", "int8", "--calibration", "same.npz"), "are one sample repeated"),
        (("m.h5", "-r", "int8", "--calibration", "nan.npz"), "NaN"),
        (("m.h5", "-r", "int8", "--calibration", "images", "--image-size", "8"), "no images"),
        (("m.h5", "-r", "qat_int8", "--train", "labels.npz"), "label"),
    ],
)
def test_wrong_usage(
    cli: Cli, digits: dict[str, Path], tmp_path: Path, arguments: Sequence[str], said: str
) -> None:
    good = digits["model"].read_bytes()
    (tmp_path / "m.h5").write_bytes(good)
    (tmp_path / "half.h5").write_bytes(good[: len(good) // 2])
    (tmp_path / "garbage.h5").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "half.keras").write_bytes(b"PK\x03\x04" + bytes(500))
    (tmp_path / "named.keras").write_bytes(good)
    (tmp_path / "empty").mkdir()
    (tmp_path / "images" / "cats").mkdir(parents=True)
    rng = np.random.default_rng(0)
    some = rng.integers(0, 16, (40, 8, 8, 1)).astype(np.uint8)
    np.savez(
        tmp_path / "same.npz", images=np.repeat(some[:1], 40, 0), labels=np.zeros(40, np.int64)
    )
    ill = some.astype(np.float32)
    ill[3, 2, 1] = np.nan
    np.savez(tmp_path / "nan.npz", images=ill, labels=np.zeros(40, np.int64))
    np.savez(tmp_path / "labels.npz", images=some, labels=np.full(40, -3))
    done = cli("convert", *arguments)
    assert done.returncode == 2, (done.returncode, done.stderr, done.stdout)
    assert said in " ".join(done.stderr.split()), done.stderr
    assert "Traceback" not in done.stderr and not done.stdout


# -- limits, interruptions, disks --------------------------------------------------------------


@pytest.mark.slow
def test_time_and_memory_and_a_dead_worker(cli: Cli, factories: Path) -> None:
    begun = {"FACTORY_BEGUN": str(factories / "begun")}
    slow = cli("convert", "factories:sleeps", "--timeout", "1", env=begun)
    assert slow.returncode == 3 and "no result after 1 s" in slow.stderr, slow.stderr
    large = cli("convert", "factories:hungry", "--memory-limit", "0.2", "--format", "json")
    assert large.returncode == 3, large.stderr
    assert "more than 0.2 GB of memory" in printed_rows(large)["float32"]["reason"]
    dead = cli("convert", "factories:kills_worker")
    assert dead.returncode == 3 and "the conversion process ended (it was killed" in dead.stderr
    assert not list(factories.glob("*.tflite"))
    # TensorFlow itself does not count.
    good = cli("convert", "factories:functional", "--memory-limit", "0.2")
    assert good.returncode == 0, good.stderr
    assert (factories / "functional_float32.tflite").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("signals", [[signal.SIGINT, signal.SIGINT], [signal.SIGTERM] * 2])
def test_interrupted(factories: Path, signals: Sequence[signal.Signals]) -> None:
    begun = factories / "begun"
    process = subprocess.Popen(
        [*harness_command(), "convert", "factories:sleeps"], cwd=factories, text=True,
        env={**os.environ, "FACTORY_BEGUN": str(begun)}, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        wait(lambda: begun.exists() and begun.read_text())
        child = int(begun.read_text())
        for number in signals:
            process.send_signal(number)
            time.sleep(0.3)
        assert process.wait(20) == 130
        assert process.stderr and "Traceback" not in process.stderr.read()
        wait(lambda: not alive(child))
    finally:
        process.kill()
        process.wait()
        assert process.stderr
        process.stderr.close()


def wait(for_what: Callable[[], object], seconds: float = 60) -> None:
    """Until it is true."""
    end = time.monotonic() + seconds
    while not for_what():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("what", ["cache", "out"])
def test_a_disk_that_fills(
    converted: subprocess.CompletedProcess[str], cli: Cli, digits: dict[str, Path], what: str
) -> None:
    tiny = os.environ.get("HARNESS_TINY_DISK")
    if not tiny or not os.access(tiny, os.W_OK):
        needed("HARNESS_TINY_DISK does not name a small disk that can be written")
    folder = Path(tiny) / f"convert-{what}-{os.getpid()}"
    folder.mkdir()
    env = {"HARNESS_CACHE": str(folder if what == "cache" else converted.args / "cache")}
    out = () if what == "cache" else ("--out", str(folder))
    model = str(digits["model"]) if what == "cache" else "builtin:digits_cnn"
    try:
        free = os.statvfs(tiny).f_bavail * os.statvfs(tiny).f_frsize
        (folder / "ballast").write_bytes(bytes(max(0, free - 100_000)))
        done = cli("convert", model, "--scale", "0.0625", "--format", "json", *out, env=env)
        assert done.returncode == 3, done.stderr
        row = printed_rows(done)["float32"]
        assert row["status"] == "failed" and "space" in row["reason"], row
        assert not [path for path in folder.rglob("*") if path.suffix in (".tflite", ".part")]
    finally:
        shutil.rmtree(folder)


# -- Edge TPU ----------------------------------------------------------------------------------

#: As the compiler prints it; the file is the one it was given, with the operator it makes.
FAKE_COMPILER = """
import json, os, shutil, sys
if "--version" in sys.argv or "-v" in sys.argv:
    print("Edge TPU Compiler version 16.0.384591198")
    sys.exit(0)
source = sys.argv[-1]
out = sys.argv[sys.argv.index("-o") + 1]
name = os.path.basename(source).removesuffix(".tflite")
shutil.copyfile({made!r}, os.path.join(out, name + "_edgetpu.tflite"))
print({log!r})
"""


def test_the_edge_tpu_compiler(
    converted: subprocess.CompletedProcess[str], cli: Cli, shared: Path, tmp_path: Path
) -> None:
    from tests.unit.test_edgetpu_compiler import WHOLE

    env = {"HARNESS_CACHE": str(converted.args / "cache")}
    edgetpu = printed_rows(converted)["edgetpu"]
    assert edgetpu["status"] in ("skipped", "failed"), edgetpu
    source = shared / "models" / "coral" / "mobilenet_v1_0.25_128_quant.tflite"
    without = cli("convert", str(source), "-r", "edgetpu", env=env)
    assert without.returncode in (2, 3)
    assert "https://coral.ai/docs/edgetpu/compiler/" in without.stderr, without.stderr
    assert "31 of 31 operators" in without.stderr, without.stderr
    compiler = tmp_path / "bin" / "edgetpu_compiler"
    compiler.parent.mkdir()
    text = FAKE_COMPILER.format(
        made=str(source.with_name(f"{source.stem}_edgetpu.tflite")), log=WHOLE
    )
    compiler.write_text(f"#!{sys.executable}\n{text}")
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    path = os.pathsep.join([str(compiler.parent), os.environ["PATH"]])
    done = cli("convert", str(source), "-r", "edgetpu", "--format", "json",
               env={**env, "PATH": path})  # fmt: skip
    assert done.returncode == 0, done.stderr
    row = printed_rows(done)["edgetpu"]
    log = row["manifest"]["edgetpu"]
    assert (log["compiler"], log["mapped"], log["subgraphs"]) == ("16.0.384591198", 31, 1)
    assert log["off_chip_bytes"] == 42_752 and log["attempts"] == 1
    assert {"name": "CONV_2D", "count": 15, "status": "Mapped to Edge TPU"} in log["operators"]
    operators = read_graph(tmp_path / row["file"]).operators
    assert operators[0].name == "edgetpu-custom-op"


@pytest.mark.slow
def test_a_compiler_that_hangs_ends_with_its_conversion(
    converted: subprocess.CompletedProcess[str], cli: Cli, tmp_path: Path
) -> None:
    compiler = tmp_path / "bin" / "edgetpu_compiler"
    compiler.parent.mkdir()
    compiler.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "Edge TPU Compiler version 16.0" && exit\n'
        f"sleep 100 &\necho $$ $! > {tmp_path}/pids.part\n"
        f"mv {tmp_path}/pids.part {tmp_path}/pids\nwait\n"
    )
    compiler.chmod(0o755)
    done = cli(
        "convert", "builtin:digits_cnn", "-r", "edgetpu", "--calibration", "digits", "--scale",
        "0.0625", "--timeout", "6",
        env={
            "HARNESS_CACHE": str(converted.args / "cache"),
            "PATH": os.pathsep.join([str(compiler.parent), os.environ["PATH"]]),
        },
    )  # fmt: skip
    assert done.returncode == 3 and "no result after 6 s" in done.stderr, done.stderr
    for pid in (tmp_path / "pids").read_text().split():
        wait(lambda pid=int(pid): not alive(pid))  # type: ignore[misc]
