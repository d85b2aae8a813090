from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import harness

Cli = Callable[..., subprocess.CompletedProcess[str]]


def test_json_of_a_model(shared: Path, cli: Cli) -> None:
    path = shared / "models" / "coral" / "deeplabv3_mnv2_dm05_pascal_quant.tflite"
    done = cli("inspect", str(path), "--format", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["size_bytes"] == path.stat().st_size and len(found["sha256"]) == 64
    assert (found["schema_version"], found["runtime"]) == (3, "1.14.0")
    assert (found["full_integer"], found["float_islands"]) == (True, [])
    assert found["parameters"] == 688_357 and found["macs"] == 867_496_704
    assert found["peak_activation_bytes"] == 513 * 513 * (21 + 8)
    assert found["edgetpu"]["mapped"] == 64 and found["edgetpu"]["total"] == 72
    assert [item["index"] for item in found["edgetpu"]["operators_on_cpu"]] == list(range(64, 72))
    conv = found["operators"][0]
    assert (conv["index"], conv["name"], conv["edgetpu"]) == (0, "CONV_2D", True)
    assert (conv["shape"], conv["dtype"]) == ([1, 257, 257, 16], "uint8")
    assert conv["macs"] == 257 * 257 * 16 * 27 and conv["options"]["padding"] == "same"
    assert "subgraph" in found["operators"][65]["reason"]
    given = found["tensors"][found["inputs"][0]["index"]]
    assert given["quantization"] == {
        "scales": [0.0078125], "zero_points": [128], "axis": None, "block_size": None
    }  # fmt: skip
    assert {"name": "min_runtime_version", "bytes": 16} in found["metadata"]
    assert json.loads(json.dumps(harness.inspect(path).as_dict())) == found


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["coral", "mlperf_tiny"])
def test_tables_of_every_file_fit_a_terminal(shared: Path, cli: Cli, folder: str) -> None:
    for path in sorted((shared / "models" / folder).glob("*.tflite")):
        done = cli("inspect", str(path), "--tensors", env={"COLUMNS": "100"})
        assert done.returncode == 0, done.stderr
        assert max(map(len, done.stdout.splitlines())) <= 100, path.name
        count = len(harness.inspect(path).graph.operators)
        assert f"\n{count - 1:>{len(str(count - 1))}}  " in done.stdout
        assert "Edge TPU" in done.stdout and "…" not in done.stdout.split("tensor")[0]


def test_a_compiled_file_says_so(shared: Path, cli: Cli) -> None:
    name = "mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    done = cli("inspect", str(shared / "models" / "coral" / name))
    assert "compiled for it; 0 operators on the CPU" in done.stdout
    assert "TFLITE_METADATA" in done.stdout


def test_variants_say_what_they_compute_in(digits: dict[str, Path], cli: Cli) -> None:
    for recipe, words in (("int8", "8-bit integers"), ("dynamic_int8", "weights were")):
        done = cli("inspect", str(digits[recipe]))
        assert done.returncode == 0 and words in done.stdout, done.stdout


@pytest.mark.slow
def test_what_is_no_model_is_refused(shared: Path, cli: Cli, tmp_path: Path) -> None:
    tiny = shared / "models" / "mlperf_tiny"
    whole = (tiny / "kws_int8.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.tflite").write_text("not a model at all")
    (tmp_path / "empty.tflite").write_bytes(b"")
    for file, words in (
        ("cut.tflite", "truncated"), ("text.tflite", "identifier TFL3"),
        ("empty.tflite", "identifier TFL3"), ("none.tflite", "there is no file"),
        (str(tiny / "ic_resnet8.h5"), "harness convert"),
        (str(tiny / "kws_saved_model"), "harness convert"), (str(tmp_path), "TFL3"),
    ):  # fmt: skip
        done = cli("inspect", file)
        assert done.returncode == 2 and words in done.stderr, (file, done.stderr)
        assert Path(file).name in done.stderr and not done.stdout
        assert "Traceback" not in done.stderr
    done = cli("inspect", str(tiny / "kws_int8.tflite"), "--format", "csv")
    assert done.returncode == 2 and "known: table, json" in done.stderr


def test_names_cannot_steer_the_terminal(shared: Path, cli: Cli, tmp_path: Path) -> None:
    data = (shared / "models" / "mlperf_tiny" / "kws_int8.tflite").read_bytes()
    assert b"input_1" in data
    (tmp_path / "bent.tflite").write_bytes(data.replace(b"input_1", b"in\x1b[2J\n"))
    done = cli("inspect", "bent.tflite", "--tensors")
    assert done.returncode == 0 and "\x1b" not in done.stdout and "in�[2J�" in done.stdout


def test_tensorflow_is_not_imported(digits: dict[str, Path]) -> None:
    code = (
        "import sys\nfrom harness.cli import main\n"
        f"sys.argv = ['harness', 'inspect', {str(digits['int8'])!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "assert not {'tensorflow', 'tf_keras', 'keras'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
