"""What benchmark_model is asked for and told: delegates, flags, operators, tensors, estimates."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agents.python import tensors as agent_tensors
from harness.devices.benchmark_model import delegation, flags, operators, output
from harness.devices.benchmark_model.tensors import input_bytes, read_tensors, split_outputs
from harness.domain import Backend, Policy, TensorSpec
from harness.errors import AgentReportedError, AgentSetupError, ProtocolError, UnsupportedError
from harness.metrics import METRICS, Observations, TrialObservation, advisories
from tests.support.recorded import recorded

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
    # Student's t of three trials: nobody knows more of how processes differ.
    assert (median.low, median.high) == (
        pytest.approx(0.0340433, rel=1e-5),
        pytest.approx(0.0519567, rel=1e-5),
    )
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
