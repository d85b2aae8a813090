from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from harness.simulation import map_operators, read_graph
from harness.simulation.edgetpu import COMPILED, RULES, Status
from harness.simulation.elements import Graph, Operator
from tests.support.graphs import graph, tensor

PAIRS = [
    "deeplabv3_mnv2_dm05_pascal_quant",
    "keras_lstm_mnist_ptq",
    "mobilenet_v1_0.25_128_quant",
    "mobilenet_v1_0.5_160_quant",
    "posenet_mobilenet_v1_075_353_481_16_quant_decoder",
]


def table(shared: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((shared / "truth" / f"{name}.csv").read_text().splitlines()))


def identity(graph: Graph, operator: Operator) -> tuple[Any, ...]:
    """What names an operator across both files: its outputs."""
    made = [graph.tensors[index] for index in operator.outputs]
    return operator.name, tuple((item.name, item.shape, item.dtype) for item in made)


@pytest.mark.parametrize("name", PAIRS)
def test_the_prediction_is_what_the_compiler_did(shared: Path, name: str) -> None:
    folder = shared / "models" / "coral"
    source = read_graph(folder / f"{name}.tflite")
    made = read_graph(folder / f"{name}_edgetpu.tflite")
    stayed = [identity(made, op) for op in made.operators if op.name != COMPILED]
    mapping = map_operators(source)
    predicted = [
        identity(source, operator)
        for operator, item in zip(source.operators, mapping, strict=True)
        if not item.mapped
    ]
    assert predicted == stayed
    assert [item.index for item in mapping] == list(range(len(source.operators)))
    truth = {Path(row["source"]).stem: row for row in table(shared, "edgetpu_partition")}
    assert sum(item.mapped for item in mapping) == float(truth[name]["ops_mapped_to_tpu"])
    assert all(item.status == Status.MAPPED for item in mapping if item.mapped)
    # The compiled file tells what happened, not what would.
    assert [item.mapped for item in map_operators(made)] == [
        op.name == COMPILED for op in made.operators
    ]


def test_the_pairs_are_all_that_there_are(shared: Path) -> None:
    rows = table(shared, "edgetpu_partition")
    assert sorted(Path(row["source"]).stem for row in rows) == PAIRS


def test_real_logs_contradict_no_rule(shared: Path) -> None:
    rows = table(shared, "edgetpu_compiler_logs")
    mapped = {row["operator"] for row in rows if row["status"] == Status.MAPPED}
    assert len(mapped) > 12 and mapped <= set(RULES)


def statuses(made: Graph) -> list[str]:
    return [item.status for item in map_operators(made)]


def test_the_first_supported_run_alone_maps() -> None:
    """A float QUANTIZE stays; what follows it maps, up to what does not."""
    chain = [tensor(0, dtype="float32"), *(tensor(index) for index in range(1, 6))]
    names = ["QUANTIZE", "RELU", "LEAKY_RELU", "RELU", "TANH"]
    made = graph(chain, [(name, (i,), (i + 1,)) for i, name in enumerate(names)])
    assert statuses(made) == [
        Status.LIMITED, Status.MAPPED, Status.UNKNOWN, Status.LATER, Status.LATER
    ]  # fmt: skip


def test_a_branch_beside_an_unsupported_operator_maps() -> None:
    """The run follows the dataflow, not the order in which operators are listed."""
    made = graph(
        [tensor(index) for index in range(5)],
        [("LEAKY_RELU", (0,), (1,)), ("RELU", (0,), (2,)), ("TANH", (2,), (3,)),
         ("ADD", (1, 3), (4,))],
    )  # fmt: skip
    # Ready first is the unsupported one: the CPU's run comes first, then the branch and all.
    assert statuses(made) == [Status.UNKNOWN, *[Status.MAPPED] * 3]
    turned = graph(
        [tensor(index) for index in range(5)],
        [("RELU", (0,), (2,)), ("LEAKY_RELU", (0,), (1,)), ("TANH", (2,), (3,)),
         ("ADD", (1, 3), (4,))],
    )  # fmt: skip
    assert statuses(turned) == [Status.MAPPED, Status.UNKNOWN, Status.MAPPED, Status.LATER]


IMAGE = (1, 16, 16, 8)


@pytest.mark.parametrize(
    ("operator", "shapes", "constants", "options", "status"),
    [
        ("MAX_POOL_2D", [IMAGE, (1, 8, 8, 8)], {}, {"fused_activation": "relu"}, Status.LIMITED),
        ("MAX_POOL_2D", [IMAGE, (1, 8, 8, 8)], {}, {"fused_activation": "none"}, Status.MAPPED),
        ("RELU", [(2, 16, 16, 8)] * 2, {}, {}, Status.RANK),
        ("RELU", [(1, 2, 16, 16, 8)] * 2, {}, {}, Status.RANK),
        ("RELU", [(16, 16, 8)] * 2, {}, {}, Status.MAPPED),
        ("RELU", [(1, 0, 16, 8)] * 2, {}, {}, Status.LIMITED),
        ("HARD_SWISH", [IMAGE, IMAGE], {}, {}, Status.UNKNOWN),
        ("SOFTMAX", [(1, 16_000)] * 2, {}, {}, Status.MAPPED),
        ("SOFTMAX", [(1, 16_001)] * 2, {}, {}, Status.LIMITED),
        ("CONCATENATION", [IMAGE, IMAGE], {}, {"fused_activation": "relu6"}, Status.LIMITED),
        ("MEAN", [IMAGE, (1, 8)], {"axes": (1, 2)}, {}, Status.MAPPED),
        ("MEAN", [IMAGE, (1, 8)], {"axes": (0,)}, {}, Status.LIMITED),
        ("MEAN", [(1, 16, 16, 6), (1, 16, 16)], {"axes": (-1,)}, {}, Status.LIMITED),
        ("MEAN", [(1, 256, 128, 3), (1, 3)], {"axes": (1, 2)}, {}, Status.LIMITED),
        ("MEAN", [(1, 64, 128, 3), (1, 3)], {"axes": (1, 2)}, {}, Status.MAPPED),
        ("PAD", [IMAGE, (1, 18, 18, 8)], {"paddings": (0, 0, 1, 1, 1, 1, 0, 0)}, {}, Status.MAPPED),
        ("PAD", [IMAGE, (2, 16, 16, 8)], {"paddings": (1, 0) + (0,) * 6}, {}, Status.RANK),
        ("RESIZE_BILINEAR", [IMAGE, (1, 32, 32, 8)], {"size": (32, 32)}, {}, Status.MAPPED),
        ("RESIZE_BILINEAR", [IMAGE, (1, 24, 24, 8)], {"size": (24, 24)}, {}, Status.IMPRECISE),
        ("RESIZE_BILINEAR", [(1, 64, 64, 32), (1, 128, 128, 32)], {"size": (128, 128)}, {},
         Status.MAPPED),
        ("RESIZE_BILINEAR", [(1, 256, 256, 32), (1, 512, 512, 32)], {"size": (512, 512)}, {},
         Status.LIMITED),
        ("RESIZE_BILINEAR", [(1, 33, 33, 8), (1, 65, 65, 8)], {"size": (65, 65)},
         {"align_corners": True}, Status.MAPPED),
        ("RESIZE_NEAREST_NEIGHBOR", [IMAGE, (1, 24, 24, 8)], {"size": (24, 24)}, {}, Status.MAPPED),
        ("SPACE_TO_DEPTH", [IMAGE, (1, 8, 8, 32)], {}, {}, Status.MAPPED),
    ],
)  # fmt: skip
def test_rules(
    operator: str,
    shapes: list[tuple[int, ...]],
    constants: dict[str, tuple[int, ...]],
    options: dict[str, Any],
    status: Status,
) -> None:
    tensors = [tensor(0, shapes[0]), tensor(1, shapes[1])]
    inputs = [0]
    for values in constants.values():
        inputs.append(len(tensors))
        tensors.append(tensor(len(tensors), (len(values),), "int32", values=values))
    (found,) = map_operators(graph(tensors, [(operator, inputs, (1,), options)]))
    assert found.status == status, found.reason


def test_parameters_must_be_constants() -> None:
    for constant, status in ((True, Status.MAPPED), (False, Status.LIMITED)):
        tensors = [tensor(0, IMAGE), tensor(1, (1, 3, 3, 8), constant=constant), tensor(2, IMAGE)]
        made = graph(tensors, [("DEPTHWISE_CONV_2D", (0, 1), (2,))])
        assert statuses(made) == [status]


def test_types_and_versions() -> None:
    for kind in ("int16", "float32", "int32"):
        made = graph([tensor(0, dtype=kind), tensor(1, dtype=kind)], [("RELU", (0,), (1,))])
        assert statuses(made) == [Status.TYPE]
    weights = tensor(1, (4, 8), constant=True)
    made = graph([tensor(0), weights, tensor(2)], [("FULLY_CONNECTED", (0, 1), (2,), {}, 9)])
    (found,) = map_operators(made)
    assert found.status == Status.VERSION and "9" in found.reason
