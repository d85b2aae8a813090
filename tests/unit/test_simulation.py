from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.devices import find_device
from harness.domain import Backend
from harness.errors import ModelError, UnsupportedError
from harness.simulation import estimate, read_graph
from harness.transports import TRANSPORTS


@pytest.mark.parametrize(
    ("name", "macs", "operators", "integer"),
    # Multiply-accumulates by layer arithmetic (ResNet8: 12.5 million, as MLPerf Tiny states).
    [("ic_resnet8_float", 12_501_632, 16, False), ("vww_96_int8", 7_489_664, 31, True),
     ("kws_int8", 2_656_768, 13, True), ("ad01_fp32", 264_192, 10, False)],
)  # fmt: skip
def test_graphs_of_real_models(
    shared: Path, name: str, macs: int, operators: int, integer: bool
) -> None:
    graph = read_graph(shared / "models" / "mlperf_tiny" / f"{name}.tflite")
    assert (graph.macs, len(graph.operators), graph.full_integer) == (macs, operators, integer)
    assert graph.weight_bytes > 0 and graph.peak_activation_bytes > 0 and not graph.stateful


def test_truncated_graphs_are_refused(digits: dict[str, Path], tmp_path: Path) -> None:
    data = digits["int8"].read_bytes()
    path = tmp_path / "cut.tflite"
    for end in range(8, len(data) - 8, len(data) // 40):
        path.write_bytes(data[:end])
        with pytest.raises(ModelError):
            read_graph(path)


def test_costs_order_as_hardware_does(digits: dict[str, Path]) -> None:
    profile = find_device("raspberry-pi-4", TRANSPORTS).simulation
    cost = {
        recipe: estimate(
            read_graph(digits[recipe]), digits[recipe].stat().st_size, Backend("cpu", 4), profile
        ).invoke_ns
        for recipe in ("float32", "int8", "int16x8")
    }
    assert cost["int8"] < cost["float32"] < cost["int16x8"]
    graph, size = read_graph(digits["float32"]), 1000
    one = estimate(graph, size, Backend("cpu", 1), profile)
    four = estimate(graph, size, Backend("cpu", 4), profile)
    many = estimate(graph, size, Backend("cpu", 64), profile)
    assert one.invoke_ns > four.invoke_ns == many.invoke_ns
    assert one.first_ns > one.invoke_ns and one.init_ns > 0 and one.memory_bytes > 1e6


def test_an_edge_tpu_refuses_floats_and_times_integers(digits: dict[str, Path]) -> None:
    profile = find_device("coral-usb", TRANSPORTS).simulation
    with pytest.raises(UnsupportedError, match="full-integer"):
        estimate(read_graph(digits["float32"]), 1000, Backend("edgetpu"), profile)
    cost = estimate(read_graph(digits["int8"]), 1000, Backend("edgetpu"), profile)
    assert cost.invoke_ns >= profile["prediction"]["parameters"]["link.usb3.invoke"] * 1e3
    assert cost.first_ns > cost.invoke_ns  # parameters go to the chip
