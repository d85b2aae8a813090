"""What benchmark_model prints and writes: recorded outputs to the digit, damage never a number."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.python import tensors as agent_tensors
from harness.devices.benchmark_model import delegation, flags, operators, output, result
from harness.devices.benchmark_model.tensors import input_bytes, read_tensors, split_outputs
from harness.domain import Backend, Policy, TensorSpec
from harness.errors import AgentReportedError, AgentSetupError, ProtocolError, UnsupportedError
from harness.metrics import METRICS, Observations, TrialObservation, advisories

RECORDED = Path("truth") / "benchmark_model_output"

#: Model -> what each recording says: init, first inference, peak MB, warm-up and measured runs.
#: A phase: count, first, min, max, mean, std, p5, median, p95.
KNOWN: dict[str, tuple[int, int, float | None, tuple[float, ...], tuple[float, ...]]] = {
    "pretrainedResnet_quant.default": (
        1509, 67, None,
        (12194, 67, 38, 4555, 40.8597, 41, 39, 40, 44),
        (24401, 39, 38, 1124, 40.8429, 12, 39, 40, 45),
    ),
    "pretrainedResnet_quant.exact200": (
        963, 58, None,
        (5, 58, 39, 58, 43.6, 7, 39, 40, 58),
        (200, 40, 39, 4087, 59.94, 285, 39, 40, 40),
    ),
    "pretrainedResnet_quant.opprof": (
        1095, 68, None,
        (11855, 68, 40, 4088, 42.0355, 37, 40, 41, 42),
        (13481, 203, 67, 203, 70.4836, 5, 68, 70, 72),
    ),
    "pretrainedResnet_quant.opprof_csv": (
        1140, 67, None,
        (11877, 67, 39, 745, 41.9459, 8, 40, 41, 43),
        (12267, 154, 65, 475, 77.1227, 13, 69, 71, 98),
    ),
    "pretrainedResnet_quant.peakmem": (
        1033, 69, 10.6367,
        (12287, 69, 37, 697, 40.5395, 8, 39, 40, 41),
        (23994, 40, 36, 956, 41.5244, 9, 39, 40, 51),
    ),
    "pretrainedResnet_quant.verbose": (
        1350, 82, None,
        (8853, 82, 47, 182, 56.2503, 8, 49, 55, 63),
        (20493, 60, 39, 164, 48.634, 9, 39, 49, 61),
    ),
    "pretrainedResnet_quant.xnn_false": (
        349, 888, None,
        (1380, 888, 339, 888, 362.098, 35, 344, 350, 415),
        (2491, 368, 336, 1026, 401.269, 69, 345, 357, 519),
    ),
    "pretrainedResnet_quant.xnn_false_opprof": (
        583, 1138, None,
        (930, 1138, 344, 19130, 536.999, 695, 448, 486, 572),
        (1761, 726, 381, 1808, 550.926, 61, 514, 542, 613),
    ),
    "pretrainedResnet_quant.xnn_true": (
        986, 59, None,
        (12067, 59, 37, 552, 41.276, 9, 39, 40, 51),
        (24229, 40, 37, 488, 41.1272, 6, 39, 40, 51),
    ),
    "vww_96_float.default": (
        2716, 227, None,
        (4154, 227, 112, 230, 118.317, 9, 114, 115, 138),
        (8414, 115, 108, 697, 116.892, 12, 112, 115, 130),
    ),
    "vww_96_float.exact200": (
        3386, 172, None,
        (5, 172, 116, 172, 133.8, 20, 116, 125, 172),
        (200, 115, 113, 248, 118.365, 13, 114, 115, 136),
    ),
    "vww_96_float.opprof": (
        1608, 174, None,
        (4071, 174, 110, 481, 120.808, 13, 115, 118, 145),
        (5878, 285, 146, 598, 161.68, 19, 150, 153, 191),
    ),
    "vww_96_float.opprof_csv": (
        2492, 278, None,
        (3825, 278, 115, 430, 128.499, 18, 117, 119, 148),
        (6191, 245, 146, 278, 153.614, 11, 148, 151, 177),
    ),
    "vww_96_float.xnn_false": (
        516, 2535, None,
        (396, 2535, 1039, 3741, 1260.86, 348, 1079, 1108, 2001),
        (745, 2068, 1033, 5440, 1336.67, 363, 1094, 1142, 2010),
    ),
    "vww_96_float.xnn_false_opprof": (
        683, 2676, None,
        (282, 2676, 1092, 12037, 1774.17, 965, 1114, 1843, 2078),
        (537, 2105, 1132, 5708, 1821.34, 323, 1217, 1921, 2104),
    ),
    "vww_96_float.peakmem": (
        1558, 188, 12.3008,
        (4137, 188, 111, 248, 118.877, 13, 113, 114, 134),
        (8535, 121, 109, 261, 115.194, 11, 111, 112, 130),
    ),
    "vww_96_float.verbose": (
        1934, 234, None,
        (3938, 234, 109, 503, 124.714, 22, 113, 115, 144),
        (8239, 115, 108, 4158, 119.363, 57, 111, 114, 138),
    ),
    "vww_96_float.xnn_true": (
        1505, 170, None,
        (4321, 170, 108, 241, 113.915, 10, 110, 112, 126),
        (8600, 114, 105, 722, 114.34, 17, 110, 113, 118),
    ),
}  # fmt: skip

GOOD = """INFO: STARTING!
INFO: Running benchmark for at least 5 iterations and at least 0 seconds but terminate if \
exceeding 150 seconds.
INFO: count=5 first=58 curr=40 min=39 max=58 avg=43.6 std=7 p5=39 median=40 p95=58

INFO: Running benchmark for at least 200 iterations and at least 0 seconds but terminate if \
exceeding 150 seconds.
INFO: count=200 first=40 curr=40 min=39 max=4087 avg=59.94 std=285 p5=39 median=40 p95=40

INFO: Inference timings in us: Init: 963, First inference: 58, Warmup (avg): 43.6, \
Inference (avg): 59.94"""


def recorded(shared: Path, name: str) -> list[str]:
    """A recording without the line of its command, its time and its exit code."""
    lines = (shared / RECORDED / name).read_text().splitlines()
    return lines[2:-1] if name.endswith(".txt") else lines


def numbers(phase: output.Statistics) -> tuple[float | None, ...]:
    return (phase.count, phase.first, phase.min, phase.max, phase.mean, phase.std,
            phase.p5, phase.median, phase.p95)  # fmt: skip


def edited(*changes: tuple[str, str]) -> list[str]:
    text = GOOD
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text.splitlines()


@pytest.mark.parametrize("name", KNOWN)
def test_recorded_outputs_to_the_digit(shared: Path, name: str) -> None:
    found = output.parse(recorded(shared, f"{name}.txt"), "board")
    init, first, peak, warmup, measured = KNOWN[name]
    assert (found.init_us, found.first_us) == (init, first)
    assert found.peak_memory_bytes == (peak and round(peak * 2**20))
    assert numbers(found.warmup) == warmup
    assert numbers(found.measured) == measured


def test_every_recorded_output_is_read(shared: Path) -> None:
    files = sorted(path.name for path in (shared / RECORDED).glob("*.txt"))
    assert {name.removesuffix(".txt") for name in files} == set(KNOWN)
    for name in files:
        lines = recorded(shared, name)
        found = output.parse(lines, "board")
        assert f"avg={found.measured.mean:g} " in "\n".join(lines)
        without_levels = [line.removeprefix("INFO: ") for line in lines]
        assert output.parse(without_levels, "board") == found, "older builds print no level"
        assert output.parse([f"{line}\r" for line in lines], "board") == found


@pytest.mark.parametrize("model", ["pretrainedResnet_quant", "vww_96_float"])
def test_recorded_results_agree_with_the_text(shared: Path, model: str) -> None:
    data = (shared / RECORDED / f"{model}.result.pb").read_bytes()
    found = output.parse(recorded(shared, f"{model}.opprof_csv.txt"), "board")
    read = result.read_result(data, "board")
    assert read["runs"] == found.measured.count and read["warmup_runs"] == found.warmup.count
    assert read["median"] == pytest.approx(found.measured.median / 1000)  # type: ignore[operator]
    result.agree(read, found, "board")
    for name in read:
        with pytest.raises(ProtocolError, match=f"for {name} and wrote"):
            result.agree({**read, name: read[name] * 1.001 + 1}, found, "board")


def test_a_damaged_result_is_refused(shared: Path) -> None:
    data = (shared / RECORDED / "vww_96_float.result.pb").read_bytes()
    found = output.parse(recorded(shared, "vww_96_float.opprof_csv.txt"), "board")
    for size in range(len(data) - 7):  # the last field is the throughput, which nobody reads
        with pytest.raises(ProtocolError):
            result.agree(result.read_result(data[:size], "board"), found, "board")


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_reader_of_results(data: bytes) -> None:
    try:
        found = result.read_result(data, "board")
    except ProtocolError:
        return
    assert all(np.isfinite(value) and value >= 0 for value in found.values())


def test_forms_of_statistics() -> None:
    measured = "count=200 first=40 curr=40 min=39 max=4087 avg=59.94 std=285 p5=39 median=40 p95=40"
    one = edited(
        ("count=5 first=58 curr=40 min=39 max=58 avg=43.6 std=7 p5=39 median=40 p95=58",
         "count=1 curr=58 p5=58 median=58 p95=58"),
        ("Warmup (avg): 43.6", "Warmup (avg): 58"),
    )  # fmt: skip
    assert numbers(output.parse(one, "b").warmup) == (1, 58, 58, 58, 58, 0, 58, 58, 58)
    large = edited(
        (measured, "count=50 first=905463 curr=1240270 min=905463 max=1500000 avg=1.24027e+06 "
                   "std=1549 p5=905463 median=1240271 p95=1500000"),
        ("Inference (avg): 59.94", "Inference (avg): 1.24027e+06"),
    )  # fmt: skip
    assert output.parse(large, "b").measured.mean == 1_240_270
    same = edited(
        (measured, "count=50 curr=1240271(all same) p5=1240271 median=1240271 p95=1240271"),
        ("Inference (avg): 59.94", "Inference (avg): 1.24027e+06"),
    )
    assert output.parse(same, "b").measured.mean == 1_240_271
    old = edited((measured, measured.split(" p5=")[0]))
    assert output.parse(old, "b").measured.median is None
    rounded = edited(("std=285", "std=-9223372036854775808"))
    assert output.parse(rounded, "b").measured.std is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("count=200 first", "count=0 first"), "contradict themselves"),
        (("max=4087", "max=30"), "contradict themselves"),
        (("avg=59.94 std", "avg=5994 std"), "contradict themselves"),
        (("std=285", "std=5000"), "contradict themselves"),
        (("std=285", "std=-3"), "contradict themselves"),
        (("p5=39 median=40 p95=40", "p5=39 median=45 p95=40"), "contradict themselves"),
        (("curr=40 min=39 max=4087", "curr=5000 min=39 max=4087"), "contradict themselves"),
        (("max=4087", "max=4087ms"), "not understood"),
        (("max=4087", "max=4087 unit=ms"), "not understood"),
        (("std=285 p5=39", "std=285 p5=3"), "contradict themselves"),
        (("count=200 first=40 ", "count=200 "), "not understood"),
        (("median=40 p95=40", "median=40 p95=nan"), "not understood"),
        (("timings in us", "timings in ms"), "timings that are not understood"),
        (("First inference: 58", "First inference: 59"), "contradict its statistics"),
        (("Inference (avg): 59.94", "Inference (avg): 59.9"), "contradict its statistics"),
        (("Inference (avg): 59.94", "Inference (avg): 60.94"), "contradict its statistics"),
        (("Init: 963", "Init: 9.63e2"), "timings that are not understood"),
        (("at least 200 iterations", "at least 200 loops"), "a phase that is not understood"),
        (("INFO: count=200", "INFO: \x1b[1mcount=200"), "1 lines of statistics"),
    ],
)
def test_what_is_wrong_is_an_error_that_shows_the_line(
    change: tuple[str, str], message: str
) -> None:
    with pytest.raises(ProtocolError, match=message) as caught:
        output.parse(edited(change), "board")
    assert "\x1b" not in str(caught.value)
    assert (
        "avg" in str(caught.value)
        or "iterations" in str(caught.value)
        or "loops" in str(caught.value)
    )


def test_memory_in_another_unit_is_an_error() -> None:
    said = "INFO: Overall peak memory footprint (MB) via periodic monitoring: 12.5"
    assert output.parse([*GOOD.splitlines(), said], "b").peak_memory_bytes == 12.5 * 2**20
    with pytest.raises(ProtocolError, match="a peak of memory"):
        output.parse([*GOOD.splitlines(), said.replace("(MB)", "(kB)")], "b")


def test_the_stop_rule_must_have_been_followed() -> None:
    asked = output.Asked(5, 0, 200, 0)
    assert output.parse(GOOD.splitlines(), "b", asked).measured.count == 200
    for other in (output.Asked(4, 0, 200, 0), output.Asked(5, 0, 200, 1)):
        with pytest.raises(ProtocolError, match="another stop rule"):
            output.parse(GOOD.splitlines(), "b", other)


def test_no_truncated_output_is_a_number() -> None:
    whole = output.parse(GOOD.splitlines(), "b")
    assert whole.measured.mean == 59.94
    for size in range(len(GOOD)):
        with pytest.raises(ProtocolError):
            output.parse(GOOD[:size].splitlines(), "b")


@given(st.data())
def test_no_broken_line_is_a_number(data: st.DataObject) -> None:
    """A character more, less or other: an error, or the numbers of a line that says so."""
    at = data.draw(st.integers(0, len(GOOD) - 1))
    new = data.draw(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=2))
    text = GOOD[:at] + new + GOOD[at + data.draw(st.integers(0, 2)) :]
    try:
        found = output.parse(text.split("\n"), "b")
    except ProtocolError:
        return
    # Only what the changed text itself still says, digit by digit, may come out.
    said = set(re.findall(r"[\d.]+", text, re.ASCII))
    for value in (*numbers(found.measured), *numbers(found.warmup), found.init_us):
        assert value is None or f"{value:g}" in said or str(value) in said


@given(st.lists(st.text(max_size=80), max_size=30))
def test_no_text_crashes_the_parsers(lines: list[str]) -> None:
    for read in (
        lambda: output.parse(lines, "b"),
        lambda: delegation.delegated(lines, "nnapi", 3, "b"),
        lambda: operators.read_operators("\n".join(lines), "b"),
    ):
        with pytest.raises(ProtocolError):
            read()


# -- delegation --------------------------------------------------------------------------------

APPLIED = "INFO: Explicitly applied {} delegate, and the model graph will be {}"
WHOLE = "completely executed by the delegate."
PART = "partially executed by the delegate w/ {} delegate kernels."


def test_recorded_delegations(shared: Path) -> None:
    def of(name: str, accelerator: str) -> dict[str, Any]:
        return delegation.delegated(recorded(shared, name), accelerator, 16, "b")

    assert of("vww_96_float.xnn_true.txt", "xnnpack") == {
        "accelerator": "xnnpack", "nodes": 16, "total": 16, "partitions": 1, "whole": True,
    }  # fmt: skip
    assert of("pretrainedResnet_quant.xnn_true.txt", "xnnpack") == {
        "accelerator": "xnnpack", "nodes": None, "total": 16, "partitions": 2, "whole": False,
    }  # fmt: skip
    assert of("vww_96_float.default.txt", "cpu")["accelerator"] == "xnnpack"
    assert of("vww_96_float.xnn_false.txt", "cpu")["accelerator"] == "cpu"
    with pytest.raises(ProtocolError, match="nothing of whether xnnpack"):
        of("vww_96_float.default.txt", "xnnpack")


@pytest.mark.parametrize(
    ("accelerator", "lines", "nodes", "total", "partitions"),
    [
        ("nnapi", [
            "VERBOSE: Replacing 5 out of 64 node(s) with delegate (TfLiteNnapiDelegate) node, "
            "yielding 5 partitions for the whole graph.",
            "VERBOSE: Replacing 59 out of 62 node(s) with delegate (TfLiteXNNPackDelegate) node, "
            "yielding 5 partitions for the whole graph.",
            APPLIED.format("NNAPI", PART.format(3)),
        ], 5, 64, 3),
        ("gpu", [
            "INFO: Replacing 31 out of 31 node(s) with delegate (TfLiteGpuDelegateV2) node, "
            "yielding 1 partitions.",
            "INFO: Initialized OpenCL-based API.",
            "INFO: Created 1 GPU delegate kernels.",
            APPLIED.format("GPU", WHOLE),
        ], 31, 31, 1),
        ("gpu", [
            "INFO: Can not open OpenCL library on this device",
            "INFO: Falling back to OpenGL",
            "INFO: Initialized OpenGL-based API.",
            APPLIED.format("GPU", WHOLE),
        ], 64, 64, 1),
        ("hexagon", [
            "INFO: Created TensorFlow Lite delegate for Hexagon.",
            "INFO: Hexagon delegate: 30 nodes delegated out of 31 nodes with 2 partitions.",
            "Applied Hexagon delegate, and the model graph will be partially executed w/ the "
            "delegate.",
        ], 30, 31, 2),
    ],
)  # fmt: skip
def test_nodes_and_partitions(
    accelerator: str, lines: list[str], nodes: int, total: int, partitions: int
) -> None:
    found = delegation.delegated(lines, accelerator, 64, "phone")
    assert (found["nodes"], found["total"], found["partitions"]) == (nodes, total, partitions)
    assert found["accelerator"] == accelerator


@pytest.mark.parametrize(
    ("accelerator", "line"),
    [
        ("nnapi", "WARN: NNAPI acceleration is unsupported on this platform."),
        ("gpu", "GPU acceleration is unsupported on this platform."),
        ("hexagon", "WARN: Could not create Hexagon delegate: platform may not support delegate "
                    "or required libraries are missing"),
        ("gpu", "ERROR: Failed to apply GPU delegate."),
        ("gpu", "INFO: Created 0 GPU delegate kernels."),
        ("nnapi", "ERROR: Restored original execution plan after delegate application failure."),
        ("xnnpack", "INFO: Though XNNPACK delegate is explicitly applied, the model graph will "
                    "not be executed by the delegate."),
        ("hexagon", "INFO: Hexagon delegate: 0 nodes delegated out of 31 nodes with 0 partitions."),
        ("nnapi", "INFO: Replacing 0 out of 31 node(s) with delegate (TfLiteNnapiDelegate) node, "
                  "yielding 1 partitions."),
        ("gpu", "WARNING: falling back to CPU"),
    ],
)  # fmt: skip
def test_an_accelerator_that_runs_nothing_is_refused(accelerator: str, line: str) -> None:
    tool = {"nnapi": "NNAPI", "gpu": "GPU", "hexagon": "Hexagon", "xnnpack": "XNNPACK"}[accelerator]
    with pytest.raises(UnsupportedError, match=f"{accelerator} does not run this model"):
        delegation.delegated([line, APPLIED.format(tool, WHOLE)], accelerator, 9, "phone")


# -- flags -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("cpu x4 (runner=benchmark_model)", ["--num_threads=4"]),
        ("xnnpack x2", ["--num_threads=2", "--use_xnnpack=true"]),
        ("hexagon", ["--num_threads=1", "--use_hexagon=true"]),
        ("nnapi", ["--num_threads=1", "--use_nnapi=true", "--disable_nnapi_cpu=true"]),
        ("nnapi(accelerator=qti-dsp, execution_preference=sustained_speed, allow_fp16=true, "
         "execution_priority=high)",
         ["--num_threads=1", "--use_nnapi=true", "--nnapi_accelerator_name=qti-dsp",
          "--nnapi_execution_preference=sustained_speed", "--nnapi_execution_priority=high",
          "--nnapi_allow_fp16=true"]),
        ("gpu(runner=benchmark_model, allow_fp16=false, experimental_enable_quant=true)",
         ["--num_threads=1", "--use_gpu=true", "--gpu_precision_loss_allowed=false",
          "--gpu_experimental_enable_quant=true"]),
    ],
)  # fmt: skip
def test_flags_of_a_backend(text: str, wanted: list[str]) -> None:
    backend = Backend.parse(text)
    assert backend.runner == "benchmark_model"
    assert flags.backend_flags(backend) == wanted


def test_options_are_checked() -> None:
    for text in ("nnapi(execution_preference=fast)", "gpu(allow_fp16=1)", "nnapi(runner=agent)"):
        with pytest.raises(ValueError, match=r"execution_preference is|allow_fp16 is|only bench"):
            Backend.parse(text)


def test_the_stop_rule_as_flags() -> None:
    asked = flags.stop_rule({"warmup_runs": 3, "warmup_seconds": 0.25, "min_runs": 50,
                             "min_seconds": 0})  # fmt: skip
    assert flags.stop_flags(asked, 12.5) == [
        "--warmup_runs=4", "--warmup_min_secs=0.25", "--num_runs=50", "--min_secs=0",
        "--max_secs=12.5",
    ]  # fmt: skip


def test_odd_names_of_inputs_never_split_a_flag() -> None:
    plain, odd = TensorSpec("in/1", (1, 8, 8), "int8"), TensorSpec("a:0,b", (1, 2), "int8")
    assert flags.input_flags([plain], ["input"]) == [
        "--input_layer=in/1", "--input_layer_shape=1,8,8", "--input_layer_value_files=in/1:input",
    ]  # fmt: skip
    assert flags.input_flags([plain, odd], ["x", "y"]) == [
        "--input_layer=input0,input1", "--input_layer_shape=1,8,8:1,2",
        "--input_layer_value_files=input0:x,input1:y",
    ]  # fmt: skip


def test_flags_that_a_build_lacks() -> None:
    ignored = output.unconsumed(["WARN: Unconsumed cmdline flags: --use_nnapi=true --foo=1"])
    assert ignored == ["--use_nnapi=true", "--foo=1"]
    with pytest.raises(UnsupportedError, match="cannot use nnapi"):
        flags.refuse_unknown(ignored, Backend.parse("nnapi"), "board")
    with pytest.raises(AgentSetupError, match="does not know --use_nnapi, --foo"):
        flags.refuse_unknown(ignored, Backend.parse("xnnpack"), "board")


# -- operators ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["pretrainedResnet_quant", "vww_96_float"])
def test_recorded_profiles(shared: Path, model: str) -> None:
    csv = operators.read_operators("\n".join(recorded(shared, f"{model}.opprof.csv")), "b")
    text = operators.read_operators("\n".join(recorded(shared, f"{model}.opprof.txt")), "b")
    assert [item["name"] for item in csv["operators"]] == [
        item["name"] for item in text["operators"]
    ]
    assert [item["node"] for item in csv["operators"]] == [
        item["node"] for item in text["operators"]
    ]
    if model == "pretrainedResnet_quant":
        assert csv["runs"] == 12267 and text["runs"] == 13481 and len(csv["operators"]) == 20
        first, pool = csv["operators"][0], csv["operators"][15]
        assert first == {
            "name": "Convolution (NHWC, QC8) IGEMM", "node": None, "delegated": True,
            "time": round(0.00477778 * 1e6 * 12267), "calls": 12267,
        }  # fmt: skip
        assert (pool["name"], pool["node"], pool["delegated"]) == ("AVERAGE_POOL_2D", 12, False)
        plain = operators.read_operators(
            "\n".join(recorded(shared, f"{model}.xnn_false_opprof.txt")), "b"
        )
        assert [item["node"] for item in plain["operators"]] == list(range(16))
        assert not any(item["delegated"] for item in plain["operators"])


def test_a_profile_with_the_column_start(shared: Path) -> None:
    lines = recorded(shared, "pretrainedResnet_quant.opprof.csv")
    wanted = operators.read_operators("\n".join(lines), "b")
    changed = [
        line.replace("node type, first", "node type, start, first")
        if line.startswith("node type")
        else re.sub(r"^(.*?), (\d[\d.e-]*, \d[\d.e-]*, [\d.e-]+%)", r"\1, 0.024, \2", line)
        for line in lines
    ]
    assert changed != lines
    assert operators.read_operators("\n".join(changed), "b") == wanted


def test_profiles_that_are_not_understood(shared: Path) -> None:
    text = "\n".join(recorded(shared, "pretrainedResnet_quant.opprof.csv"))
    for old, new in (
        ("node type, first, avg_ms", "node type, first, avg_us"),
        ("SOFTMAX, 0.001, 0.000154561", "SOFTMAX, 0.001, abc"),
        ("Timings (microseconds): count=12267", "Timings (ms): count=12267"),
        ("Operator-wise", "Wise"),
    ):
        assert old in text
        with pytest.raises(ProtocolError):
            operators.read_operators(text.replace(old, new), "b")


# -- tensors -----------------------------------------------------------------------------------


@given(
    st.sampled_from(["float32", "int8", "uint8", "int16", "float16"]),
    st.sampled_from(["uint8", "float32", "int16"]),
    st.floats(1e-3, 300.0),
    st.lists(st.floats(-50, 50), min_size=1, max_size=1) | st.lists(
        st.floats(-50, 50), min_size=3, max_size=3),
    st.floats(1e-3, 10.0),
    st.integers(-20, 20),
    st.integers(0, 1 << 30),
)  # fmt: skip
def test_inputs_are_those_of_the_agent_bit_for_bit(
    dtype: str, stored: str, scale: float, mean: list[float], step: float, zero: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    samples = (rng.random((4, 5, 5, 3)) * 255).astype(stored)
    quantized = np.dtype(dtype).kind in "iu"
    step, zero = (step, zero) if quantized else (0.0, 0)
    preprocessing = {"scale": scale, "mean": mean, "std": [0.5]}
    detail = {"shape": (1, 5, 5, 3), "dtype": np.dtype(dtype).type, "quantization": (step, zero)}
    with np.errstate(over="ignore"):
        theirs = agent_tensors.Preprocessor(np, detail, samples, preprocessing, "x")(samples)
        spec = TensorSpec("in", (1, 5, 5, 3), dtype, step, zero)
        assert input_bytes(samples, preprocessing, spec, "b") == theirs.tobytes()


def test_token_ids_pass_unchanged() -> None:
    samples = np.arange(12, dtype=np.int64).reshape(3, 4)
    data = input_bytes(samples, {"scale": 2.0}, TensorSpec("ids", (1, 4), "int32"), "b")
    assert data == samples.astype(np.int32).tobytes()


def test_inputs_that_do_not_fit() -> None:
    samples = np.zeros((2, 4), np.float32)
    for spec in (
        TensorSpec("in", (2, 4), "float32"),
        TensorSpec("in", (1, 5), "float32"),
        TensorSpec("in", (1, 4), "string"),
    ):
        with pytest.raises(AgentReportedError):
            input_bytes(samples, {}, spec, "b")


def test_tensors_are_those_that_the_runtime_tells(shared: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    for path in sorted((shared / "models" / "mlperf_tiny").glob("*.tflite")):
        interpreter = Interpreter(model_path=str(path))
        loaded = read_tensors(path, "b").as_message(7)
        for mine, theirs in (
            (loaded["inputs"], interpreter.get_input_details()),
            (loaded["outputs"], interpreter.get_output_details()),
        ):
            assert mine == [agent_tensors.tensor_spec(detail) for detail in theirs]


def test_joined_outputs_come_apart() -> None:
    first, second = np.arange(6, dtype=np.int8).reshape(2, 3), np.array([1.5, 2.5], np.float32)
    data = b"".join(first[i].tobytes() + second[i].tobytes() for i in range(2))
    specs = (TensorSpec("a", (1, 3), "int8"), TensorSpec("b", (), "float32"))
    found = split_outputs(data, 2, specs, "b")
    assert found[0].tolist() == first.tolist() and found[1].tolist() == [[1.5], [2.5]]


# -- estimates ---------------------------------------------------------------------------------


def trial(median: int | None, **more: Any) -> TrialObservation:
    summary = {
        "unit": "us", "count": 200, "first": 40, "min": 39, "max": 90, "mean": 41.5, "std": 3,
        "p5": median and median - 1, "median": median, "p95": median and median + 5,
        "first_inference": 58, "warmup": {"mean": 43.6},
    }  # fmt: skip
    return TrialObservation({}, {"summary": {**summary, **more}, "load_ns": 0, "init_ns": 963_000})


def test_latency_of_summaries() -> None:
    trials = (trial(40), trial(42), trial(47))
    observations = Observations(
        Policy(min_runs=100), 1, trials, clock_resolution_ns=1000, accelerator="nnapi",
        delegated={"accelerator": "nnapi", "nodes": 5, "total": 64, "partitions": 3},
    )  # fmt: skip
    found = {item.name: item for item in METRICS["latency"](observations)}
    median = found["latency_median"]
    assert (median.value, median.n, median.groups) == (pytest.approx(0.042), 600, 3)
    assert (median.low, median.high) == (pytest.approx(0.040), pytest.approx(0.047))
    assert found["latency_mean"].value == pytest.approx(0.0415)
    assert found["latency_p95"].value == pytest.approx(0.048)
    assert found["latency_min"].value == pytest.approx(0.039)
    assert found["first_inference"].value == pytest.approx(0.058)
    assert found["warmup_mean"].value == pytest.approx(0.0436)
    assert found["init"].value == pytest.approx(0.963)
    kinds = {item.kind.value: item.evidence for item in advisories(observations)}
    assert set(kinds) == {
        "summary_only", "coarse_timer", "partial_delegation", "trials_disagree",
    }  # fmt: skip
    assert "5 of the file's 64 operators, in 3 partition(s)" in kinds["partial_delegation"]


def test_a_median_that_is_not_told_is_not_estimated() -> None:
    observations = Observations(Policy(min_runs=1000), 1, (trial(None), trial(None)))
    names = {item.name for item in METRICS["latency"](observations)}
    assert "latency_mean" in names and not names & {"latency_median", "latency_p5", "latency_p95"}
    kinds = {item.kind.value: item.evidence for item in advisories(observations)}
    assert "no median" in kinds["summary_only"] and "few_samples" in kinds


def test_partial_delegation_without_a_count() -> None:
    seen = {"accelerator": "xnnpack", "nodes": None, "total": 16, "partitions": 1, "whole": False}
    for accelerator, wanted in (("xnnpack", True), ("cpu", False)):
        observations = Observations(Policy(), 1, accelerator=accelerator, delegated=seen)
        kinds = {item.kind.value for item in advisories(observations)}
        assert ("partial_delegation" in kinds) == wanted
