"""Sizes of what the Edge TPU compiler makes, held against what it made."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from harness.simulation import read_graph
from harness.simulation.architectures import find
from harness.simulation.prediction import Prepared
from harness.simulation.prediction.package import instruction_bytes, parameter_bytes
from tests.support.graphs import graph, tensor


@pytest.mark.parametrize(
    ("name", "off"),
    [
        ("deeplabv3_mnv2_dm05_pascal_quant", 0.1),
        ("mobilenet_v1_0.25_128_quant", 0.2),
        ("mobilenet_v1_0.5_160_quant", 0.15),
        ("posenet_mobilenet_v1_075_353_481_16_quant_decoder", 0.1),
    ],
)
def test_parameters_and_instructions_are_as_large_as_the_compilers(
    shared: Path, name: str, off: float
) -> None:
    rows = csv.DictReader((shared / "truth" / "edgetpu_partition.csv").read_text().splitlines())
    truth = {Path(row["source"]).stem: row for row in rows}[name]
    found = Prepared(read_graph(shared / "models" / "coral" / f"{name}.tflite"))
    whole = found.parameter_bytes + found.instruction_bytes
    assert whole == pytest.approx(float(truth["tpu_custom_options_bytes"]), rel=off)
    # Laid out for lanes and cells, they take more than in the file they are from.
    assert found.parameter_bytes > float(truth["source_const_bytes"])


def test_unfolded_normalizations_do_not_fit_beside_the_weights() -> None:
    """A compiler's log has 10.1 MiB of parameters for 313 operators from a file of 8.00 MiB."""
    network = find("densenet_121")
    assert network is not None
    assert Prepared(network.graph("int8")).parameter_bytes / 2**20 == pytest.approx(10.1, rel=0.06)


def test_each_kind_of_weight_has_its_layout() -> None:
    def bytes_of(name: str, weights: tuple[int, ...], out: int) -> float:
        parts = [
            tensor(0, shape=(1, 8, 8, weights[-1])),
            tensor(1, shape=weights, constant=True),
            tensor(2, shape=(1, 8, 8, out)),
        ]
        made = graph(parts, [(name, (0, 1), (2,))])
        return parameter_bytes(made, np.array([True]))

    assert bytes_of("CONV_2D", (32, 3, 3, 4), 32) == 32 * (9 * 4 + 8)
    assert bytes_of("CONV_2D", (33, 3, 3, 3), 33) == 64 * (9 * 4 + 8)
    assert bytes_of("DEPTHWISE_CONV_2D", (1, 3, 3, 64), 64) == 64 * (9 * 4 + 8)
    assert bytes_of("MUL", (16,), 16) == 32 * 16


def test_what_stays_on_the_processor_takes_nothing_of_the_chip() -> None:
    network = find("mobilenet_v1_0.25_128")
    assert network is not None
    whole = network.graph("int8")
    nothing = np.zeros(len(whole.operators), dtype=bool)
    assert parameter_bytes(whole, nothing) == instruction_bytes(whole, nothing) == 0


def test_operators_that_run_in_parts_have_more_instructions() -> None:
    small, large = find("posenet_mobilenet_v1_0.75"), find("posenet_mobilenet_v1_0.75")
    assert small is not None and large is not None
    few = Prepared(small.graph("int8", (1, 353, 481, 3))).instruction_bytes
    many = Prepared(large.graph("int8", (1, 721, 1281, 3))).instruction_bytes
    # The compiler's own: 118,368 and 785,376.
    assert few == pytest.approx(118_368, rel=0.2)
    assert many == pytest.approx(785_376, rel=0.2)
