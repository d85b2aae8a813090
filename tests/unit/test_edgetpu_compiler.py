from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from harness.errors import ConversionError, MissingToolError
from harness.recipes.edgetpu_compiler import compile_for_edgetpu, prerequisites
from harness.recipes.edgetpu_log import parse_log
from harness.simulation import read_graph
from tests.support.graphs import graph, tensor

#: As version 16.0 prints with -s where every operator maps.
WHOLE = """\
Edge TPU Compiler version 16.0.384591198
Searching for valid delegate with step 10
Try to compile segment with 31 ops
Started a compilation timeout timer of 180 seconds.

Model compiled successfully in 3133 ms.

Input model: mobilenet_v1_0.25_128_quant.tflite
Input size: 513.28KiB
Output model: mobilenet_v1_0.25_128_quant_edgetpu.tflite
Output size: 782.67KiB
On-chip memory used for caching model parameters: 5.90MiB
On-chip memory remaining for caching model parameters: 1.16MiB
Off-chip memory used for streaming uncached model parameters: 41.75KiB
Number of Edge TPU subgraphs: 1
Total number of operations: 31
Operation log: mobilenet_v1_0.25_128_quant_edgetpu.log

Operator                       Count      Status

AVERAGE_POOL_2D                1          Mapped to Edge TPU
CONV_2D                        15         Mapped to Edge TPU
DEPTHWISE_CONV_2D              13         Mapped to Edge TPU
RESHAPE                        1          Mapped to Edge TPU
SOFTMAX                        1          Mapped to Edge TPU
Compilation child process completed within timeout period.
Compilation succeeded!
"""

#: As version 15.0 prints where only a part maps.
PART = """\
Edge TPU Compiler version 15.0.340273435

Model compiled successfully in 93 ms.

Input model: detector.tflite
Input size: 7.39MiB
Output model: detector_edgetpu.tflite
Output size: 7.34MiB
On-chip memory used for caching model parameters: 0.00B
On-chip memory remaining for caching model parameters: 8.05MiB
Off-chip memory used for streaming uncached model parameters: 0.00B
Number of Edge TPU subgraphs: 1
Total number of operations: 155
Operation log: detector_edgetpu.log

Model successfully compiled but not all operations are supported by the Edge TPU. A percentage of \
the model will instead run on the CPU, which is slower. If possible, consider updating your model \
to use only operations supported by the Edge TPU. For details, visit g.co/coral/model-reqs.
Number of operations that will run on Edge TPU: 2
Number of operations that will run on CPU: 153

Operator                       Count      Status

TRANSPOSE                      70         Operation not supported
FULLY_CONNECTED                1          More than one subgraph is not supported
PAD                            1          Mapped to Edge TPU
PAD                            17         More than one subgraph is not supported
ADD                            10         More than one subgraph is not supported
MEAN                           2          More than one subgraph is not supported
CONV_2D                        35         More than one subgraph is not supported
QUANTIZE                       1          Mapped to Edge TPU
QUANTIZE                       1          Operation is otherwise supported, but not mapped due to \
some unspecified limitation
DEPTHWISE_CONV_2D              17         More than one subgraph is not supported
"""

#: The file that the compiler leaves beside the model.
FILE = """\
Edge TPU Compiler version 14.1.317412892
Input: tiny_yolo.tflite
Output: tiny_yolo_edgetpu.tflite

Operator                       Count      Status

CONCATENATION                  1          More than one subgraph is not supported
MAX_POOL_2D                    6          Mapped to Edge TPU
RESIZE_NEAREST_NEIGHBOR        1          Operation version not supported
"""

CRASH = "Edge TPU Compiler version 14.1.317412892\n\nInternal compiler error. Aborting! \n"
FOREIGN = """\
Edge TPU Compiler version 16.0.384591198
ERROR: Didn't find op for builtin opcode 'TRANSPOSE_CONV' version '4'. An older version of this \
builtin might be supported. Are you using an old TFLite binary with a newer model?

ERROR: Registration failed.

Invalid model: model.tflite
Model could not be parsed
"""


def test_a_log_where_all_maps() -> None:
    log = parse_log(WHOLE)
    assert log.version == "16.0.384591198"
    assert [(row.operator, row.count) for row in log.rows][:2] == [
        ("AVERAGE_POOL_2D", 1), ("CONV_2D", 15)
    ]  # fmt: skip
    assert (log.mapped, log.operations, log.subgraphs) == (31, 31, 1)
    assert log.on_chip_used_bytes == round(5.90 * 2**20)
    assert log.on_chip_remaining_bytes == round(1.16 * 2**20)
    assert log.off_chip_bytes == 42_752


def test_a_log_where_a_part_maps() -> None:
    log = parse_log(PART)
    assert (log.mapped, log.on_edgetpu, log.on_cpu, log.operations) == (2, 2, 153, 155)
    why = {(row.operator, row.status) for row in log.rows if not row.mapped}
    assert ("TRANSPOSE", "Operation not supported") in why
    short = parse_log(FILE)
    assert (short.mapped, short.operations, len(short.rows)) == (6, None, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("hello\nworld\n", "hello"),
        (WHOLE.replace("Edge TPU Compiler version", "Edge CPU Compiler version"), "Edge CPU"),
        (WHOLE + "Number of monkeys: 3\n", "Number of monkeys: 3"),
        (WHOLE.replace("5.90MiB", "5.90 furlongs"), "furlongs"),
        (WHOLE.replace("CONV_2D                        15", "CONV_2D 14"), "30 by its table"),
        (PART.replace("run on CPU: 153", "run on CPU: 152"), "152"),
        (WHOLE.split("Operator ")[0], "without operators"),
        (CRASH, "Internal compiler error"),
        (FOREIGN, "Registration failed"),
    ],
)
def test_a_log_that_is_not_understood_is_shown(text: str, words: str) -> None:
    with pytest.raises(ConversionError, match="edgetpu_compiler") as caught:
        parse_log(text)
    assert words in caught.value.message


def test_real_logs_by_their_rows(shared: Path) -> None:
    """The tables of public logs, put back into the compiler's form."""
    import csv

    found: dict[str, list[dict[str, str]]] = {}
    text = (shared / "truth" / "edgetpu_compiler_logs.csv").read_text()
    for row in csv.DictReader(text.splitlines()):
        if row["operator"] != "(total)":
            found.setdefault(row["model"], []).append(row)
    assert found
    for rows in found.values():
        lines = [f"{row['operator']:<30} {row['count']:<10} {row['status']}" for row in rows]
        table = "\n".join(["Operator                       Count      Status", "", *lines])
        log = parse_log(f"Edge TPU Compiler version 16.0.384591198\n\n{table}\n")
        assert log.mapped == sum(int(row["count"]) for row in rows)


def test_what_to_change() -> None:
    floats = graph([tensor(0, dtype="float32"), tensor(1, dtype="float32")], [("RELU", (0,), (1,))])
    assert any("recipe int8" in problem for problem in prerequisites(floats))
    loose = graph(
        [tensor(0, (1, 8, 8, 3), signature=(-1, -1, -1, 3)), tensor(1, (1, 8, 8, 3))],
        [("RELU", (0,), (1,))],
    )
    assert any("fix the input's shape" in problem for problem in prerequisites(loose))
    named = graph(
        [tensor(0), tensor(1), tensor(2)], [("RELU", (0,), (1,)), ("HARD_SWISH", (1,), (2,))]
    )
    (problem,) = prerequisites(named)
    assert "HARD_SWISH, from operator 1 on" in problem and "coral.ai" in problem
    batch = graph([tensor(0, (1, 8), signature=(-1, 8)), tensor(1)], [("RELU", (0,), (1,))])
    assert prerequisites(batch) == ()


def test_prerequisites_of_real_files(shared: Path, digits: dict[str, Path]) -> None:
    coral = shared / "models" / "coral"
    assert prerequisites(read_graph(coral / "mobilenet_v2_1.0_224_quant.tflite")) == ()
    assert prerequisites(read_graph(digits["int8"])) == ()
    assert "already" in prerequisites(read_graph(coral / "keras_lstm_mnist_ptq_edgetpu.tflite"))[0]
    assert any("int8" in line for line in prerequisites(read_graph(digits["int16x8"])))
    deeplab = prerequisites(read_graph(coral / "deeplabv3_mnv2_dm05_pascal_quant.tflite"))
    assert any("RESIZE_BILINEAR" in line for line in deeplab)


@pytest.fixture
def compiler(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, Path, Path]:
    """A program of the compiler's name; it does what ``script`` says, with these files.

    Gives the script's path, the source file, and the folder for what is made.
    """
    coral = shared / "models" / "coral"
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    script = bin_folder / "edgetpu_compiler"
    source = tmp_path / "mobilenet_v1_0.25_128_quant.tflite"
    shutil.copyfile(coral / source.name, source)
    (tmp_path / "whole.log").write_text(WHOLE)
    (tmp_path / "crash.log").write_text(CRASH)
    (tmp_path / "foreign.log").write_text(FOREIGN)
    shutil.copyfile(coral / f"{source.stem}_edgetpu.tflite", tmp_path / "made.tflite")
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    return script, source, tmp_path / "out"


def write(script: Path, body: str) -> None:
    script.write_text(f"#!/bin/sh\ncd {script.parent.parent}\n{body}\n")
    script.chmod(0o755)


#: What the real one does: -s -o FOLDER FILE.
SUCCESS = 'cp made.tflite "$3/$(basename "$4" .tflite)_edgetpu.tflite"; cat whole.log'


def test_it_fails_and_then_succeeds(compiler: tuple[Path, Path, Path]) -> None:
    script, source, out = compiler
    write(
        script,
        f"echo x >> tries; if [ $(wc -l < tries) = 1 ]; then cat crash.log; exit 1; fi; {SUCCESS}",
    )
    made = compile_for_edgetpu(source, out)
    assert made.attempts == 2 and made.log.mapped == 31 and made.log_text == WHOLE
    assert made.path == out / f"{source.stem}_edgetpu.tflite"
    assert read_graph(made.path).operators[0].name == "edgetpu-custom-op"
    assert [item.name for item in out.iterdir()] == [made.path.name]


def test_it_fails_every_time(compiler: tuple[Path, Path, Path]) -> None:
    script, source, out = compiler
    write(script, "echo x >> tries; cat crash.log; exit 1")
    with pytest.raises(ConversionError, match=r"3 times \(exit code 1\): Internal compiler error"):
        compile_for_edgetpu(source, out)
    assert (script.parent.parent / "tries").read_text().count("x") == 3
    assert not list(out.iterdir())


def test_what_it_cannot_read_is_not_tried_again(compiler: tuple[Path, Path, Path]) -> None:
    script, source, out = compiler
    write(script, "echo x >> tries; cat foreign.log; exit 1")
    with pytest.raises(ConversionError, match="Registration failed"):
        compile_for_edgetpu(source, out)
    assert (script.parent.parent / "tries").read_text().count("x") == 1


def test_it_hangs(compiler: tuple[Path, Path, Path]) -> None:
    script, source, out = compiler
    write(script, "sleep 61.25 & echo $! > child; wait")
    begin = time.monotonic()
    with pytest.raises(ConversionError, match=r"did not end within 0\.5 seconds"):
        compile_for_edgetpu(source, out, timeout=0.5)
    assert time.monotonic() - begin < 20
    child = Path("/proc") / (script.parent.parent / "child").read_text().strip()
    for _ in range(100):
        # What it started ends with it; a zombie waits only for its reaper.
        if not child.exists() or ") Z " in (child / "stat").read_text():
            break
        time.sleep(0.05)
    else:
        pytest.fail("the compiler's child outlives it")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (f"{SUCCESS}; echo what is this", "what is this"),
        (f'{SUCCESS}; echo damaged > "$3/$(basename "$4" .tflite)_edgetpu.tflite"', "damaged"),
        (f'{SUCCESS}; cp "$4" "$3/$(basename "$4" .tflite)_edgetpu.tflite"', "none of them"),
        ("cat whole.log", "failed"),
    ],
)
def test_it_says_or_leaves_what_it_should_not(
    compiler: tuple[Path, Path, Path], body: str, words: str
) -> None:
    script, source, out = compiler
    write(script, body)
    with pytest.raises(ConversionError, match=words):
        compile_for_edgetpu(source, out)
    assert not list(out.iterdir())


def test_without_the_compiler(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    source = shared / "models" / "coral" / "deeplabv3_mnv2_dm05_pascal_quant.tflite"
    with pytest.raises(MissingToolError) as caught:
        compile_for_edgetpu(source, tmp_path)
    assert "64 of 72 operators" in caught.value.message
    assert "RESIZE_BILINEAR (operator 64)" in caught.value.message
    assert "https://coral.ai/docs/edgetpu/compiler/" in str(caught.value.hint)
    assert caught.value.exit_code == 2


def test_what_maps_nothing_is_refused_first(digits: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ConversionError, match="use the recipe int8"):
        compile_for_edgetpu(digits["float32"], tmp_path)
