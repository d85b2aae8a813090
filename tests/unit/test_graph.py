from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import ModelError
from harness.simulation import float_islands, parameters, per_tensor_weights, read_graph
from harness.simulation.costs import peak_activation_bytes
from harness.simulation.elements import Tensor
from tests.support.graphs import graph, tensor


def tiny(shared: Path, name: str) -> Path:
    return shared / "models" / "mlperf_tiny" / f"{name}.tflite"


def test_tensors_scales_and_options_of_a_real_model(shared: Path) -> None:
    read = read_graph(tiny(shared, "kws_int8"))
    (given,) = read.inputs
    assert (given.name, given.shape, given.shape_signature, given.dtype, given.bytes) == (
        "input_1", (1, 49, 10, 1), (-1, 49, 10, 1), "int8", 490
    )  # fmt: skip
    assert given.quantization is not None
    assert given.quantization.scales == pytest.approx((0.5847029,))
    assert given.quantization.zero_points == (83,) and not given.quantization.per_axis
    first = read.operators[0]
    assert (first.name, first.version, first.outputs) == ("CONV_2D", 3, (22,))
    assert first.options == {
        "padding": "same", "stride_w": 2, "stride_h": 2, "fused_activation": "relu",
        "dilation_w_factor": 1, "dilation_h_factor": 1,
    }  # fmt: skip
    weight = read.tensors[first.inputs[1]]
    assert weight.constant and weight.shape == (64, 10, 4, 1) and weight.quantization is not None
    assert len(weight.quantization.scales) == 64 and weight.quantization.axis == 0
    reshape = next(operator for operator in read.operators if operator.name == "RESHAPE")
    assert read.tensors[reshape.inputs[1]].values == (-1, 64)
    assert [(entry.name, entry.data.rstrip(b"\0")) for entry in read.metadata] == [
        ("min_runtime_version", b"1.5.0")
    ]
    assert (read.schema_version, read.description) == (3, "MLIR Converted.")


def test_files_of_other_makers(shared: Path) -> None:
    folder = shared / "models" / "coral"
    lstm = read_graph(folder / "keras_lstm_mnist_ptq.tflite")
    assert [signature.key for signature in lstm.signatures] == ["serving_default"]
    assert lstm.stateful and lstm.full_integer
    # 28 steps of four gates over 28 inputs and 20 states; then Dense.
    assert lstm.macs == 28 * 4 * 20 * (28 + 20) + 560 * 10
    assert [index for index in lstm.operators[1].inputs if index < 0] == [-1] * 9
    posenet = read_graph(
        folder / "posenet_mobilenet_v1_075_353_481_16_quant_decoder_edgetpu.tflite"
    )
    compiled, decoder = posenet.operators
    assert (compiled.name, compiled.custom) == ("edgetpu-custom-op", True)
    assert (compiled.custom_options_bytes, decoder.custom_options_bytes) == (1_597_524, 165)
    assert posenet.float_types == ("float32",) and not posenet.full_integer
    # ARG_MAX gives int64 positions: index maths, not float.
    assert read_graph(folder / "deeplabv3_mnv2_dm05_pascal_quant.tflite").full_integer


@pytest.mark.parametrize(
    ("name", "count"),
    # As Keras counts them, BatchNorm folded (ResNet8: 78,666 with its four a channel).
    [("ic_resnet8_float", 77_706), ("ic_resnet8_int8", 77_706), ("ad01_fp32", 265_864),
     ("kws_float", 22_604), ("kws_int8", 22_604), ("vww_96_int8", 210_850)],
)  # fmt: skip
def test_parameters_are_weights_and_biases_alone(shared: Path, name: str, count: int) -> None:
    assert parameters(read_graph(tiny(shared, name))) == count


def test_half_precision_counts_as_the_model_it_is(digits: dict[str, Path]) -> None:
    whole, half = read_graph(digits["float32"]), read_graph(digits["float16"])
    assert parameters(whole) == parameters(half) == parameters(read_graph(digits["int8"]))
    assert whole.macs == half.macs > 0
    assert half.peak_activation_bytes == whole.peak_activation_bytes


def peak(tensors: Sequence[Tensor], operators: Sequence[tuple[object, ...]]) -> int:
    return peak_activation_bytes(graph(tensors, operators).main)


def test_the_peak_is_over_time() -> None:
    sizes = [tensor(index, (1, size)) for index, size in enumerate((10, 20, 40, 5, 7))]
    # A chain: two neighbours at a time.
    chain = [("RELU", (i,), (i + 1,)) for i in range(4)]
    assert peak(sizes, chain) == 20 + 40
    # The first activation is read again at the end, and lives all along.
    skip = [*chain[:3], ("ADD", (3, 0), (4,))]
    assert peak(sizes, skip) == 10 + 20 + 40
    # Constants and unpacked constants are no activations; state is always there.
    held = [*sizes, tensor(5, (1, 1000), constant=True), tensor(6, (1, 1000), "float32"),
            tensor(7, (1, 100), variable=True)]  # fmt: skip
    assert peak(held, [("DEQUANTIZE", (5,), (6,)), ("ADD", (0, 6), (1,)), *chain[1:]]) == 160


def test_islands_of_float() -> None:
    body = [tensor(0), tensor(1, dtype="float32"), tensor(2, dtype="float32"), tensor(3), tensor(4)]
    trip = graph(
        body,
        [("DEQUANTIZE", (0,), (1,)), ("ERF", (1,), (2,)), ("QUANTIZE", (2,), (3,)),
         ("RELU", (3,), (4,))],
    )  # fmt: skip
    (island,) = float_islands(trip)
    assert island.operators == (0, 1, 2) and island.names == ("DEQUANTIZE", "ERF", "QUANTIZE")
    assert "between DEQUANTIZE and QUANTIZE" in island.reason and "ERF" in island.reason
    assert not trip.full_integer

    edges = graph(
        [tensor(0, dtype="float32"), tensor(1), tensor(2), tensor(3, dtype="float32")],
        [("QUANTIZE", (0,), (1,)), ("RELU", (1,), (2,)), ("DEQUANTIZE", (2,), (3,))],
    )
    first, last = float_islands(edges)
    assert (first.operators, last.operators) == ((0,), (2,))
    assert "input is a float" in first.reason and "output is a float" in last.reason

    counts = graph(
        [tensor(0), tensor(1, (1,), "int64"), tensor(2, (1,), "bool"), tensor(3, (1,), "int32")],
        [("ARG_MAX", (0,), (1,)), ("EQUAL", (1,), (2,)), ("SHAPE", (2,), (3,))],
    )
    assert float_islands(counts) == () and counts.full_integer


def test_islands_of_real_variants(digits: dict[str, Path]) -> None:
    assert float_islands(read_graph(digits["int8"])) == ()
    (hybrid,) = float_islands(read_graph(digits["dynamic_int8"]))
    assert "weights were" in hybrid.reason
    (whole,) = float_islands(read_graph(digits["float32"]))
    assert len(whole.operators) == len(read_graph(digits["float32"]).operators)


def test_weights_with_one_scale_for_all_channels(shared: Path) -> None:
    coarse = per_tensor_weights(read_graph(tiny(shared, "kws_int8")))
    assert [(operator.index, operator.name) for operator in coarse] == [(11, "FULLY_CONNECTED")]
    # The older uint8 scheme has one scale per tensor.
    old = read_graph(shared / "models" / "coral" / "mobilenet_v1_0.25_128_quant.tflite")
    assert per_tensor_weights(old) == ()
    layer = [tensor(0), tensor(1, (4, 1, 1, 8), constant=True), tensor(2)]
    for scales, found in ((1, 1), (4, 0)):
        layer[1] = tensor(1, (4, 1, 1, 8), constant=True, scales=scales)
        assert len(per_tensor_weights(graph(layer, [("CONV_2D", (0, 1), (2,))]))) == found
    single = replace(layer[1], shape=(1, 1, 1, 8), quantization=layer[0].quantization)
    assert not per_tensor_weights(graph([layer[0], single, layer[2]], [("CONV_2D", (0, 1), (2,))]))


@pytest.mark.parametrize("name", ["kws_int8", "ad01_int8"])
def test_damage_is_a_model_error_or_nothing(shared: Path, tmp_path: Path, name: str) -> None:
    data = tiny(shared, name).read_bytes()
    path = tmp_path / "damaged.tflite"
    refused = 0
    for part in range(50):
        path.write_bytes(data[: len(data) * part // 50])
        with pytest.raises(ModelError):
            read_graph(path)
    rng = random.Random(11)
    for _ in range(250):
        bent = bytearray(data)
        structure = rng.choice((len(bent), 8000))  # the file's end holds few weights
        for _ in range(rng.choice((1, 4, 16))):
            bent[-rng.randrange(1, structure)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        path.write_bytes(bent)
        try:
            read_graph(path)
        except ModelError:
            refused += 1
    assert refused > 10


def test_a_file_that_claims_more_than_it_holds(shared: Path, tmp_path: Path) -> None:
    """A count in the billions is refused before anything of its size is made."""
    from ai_edge_litert import schema_py_generated as schema

    data = bytearray(tiny(shared, "kws_int8").read_bytes())
    table = schema.Model.GetRootAs(bytes(data), 0)
    subgraph = table.Subgraphs(0)
    for owner, slot in ((subgraph, 4), (subgraph, 10), (table, 8), (subgraph.Tensors(0), 10)):
        start = owner._tab.Vector(owner._tab.Offset(slot)) - 4
        bent = bytearray(data)
        bent[start : start + 4] = (0x7FFFFFFF).to_bytes(4, "little")
        path = tmp_path / "big.tflite"
        path.write_bytes(bent)
        with pytest.raises(ModelError):
            read_graph(path)
