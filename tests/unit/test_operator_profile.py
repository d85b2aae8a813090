"""A profiler's entries joined with a graph, kept, and compared."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.devices import messages
from harness.devices.benchmark_model.operators import read_operators
from harness.errors import ProtocolError, StoreVersionError
from harness.metrics.profile import MAX_KEPT, Profile, compare, join
from harness.metrics.profile.align import align
from harness.simulation import Graph, read_graph
from harness.simulation.elements import Operator, Subgraph, Tensor
from harness.stats.midmean import middle_half, midmean


def graph(*names: str, kernel: tuple[int, int] = (3, 3), outputs: Sequence[str] = ()) -> Graph:
    """A chain of operators; convolutions read the weights in tensor 0."""
    tensors = [
        Tensor(0, "weights", (8, *kernel, 4), (), "float32", 4, 4, 1),
        Tensor(1, "in", (1, 4, 4, 4), (), "float32", 256, 0, 0),
    ]
    operators = []
    for index, name in enumerate(names):
        made = outputs[index] if outputs else f"net/{name.lower()}_{index}"
        tensors.append(Tensor(index + 2, made, (1, index + 1), (), "float32", 4, 0, 0))
        operators.append(
            Operator(
                name, "float32", "", 0, 0, 0, index=index, inputs=(index + 1, 0),
                outputs=(index + 2,),
            )
        )  # fmt: skip
    part = Subgraph("main", tuple(tensors), tuple(operators), (1,), (len(tensors) - 1,))
    return Graph((part,), (), (), "", 3, 0, 0, False)


def message(*events: tuple[str, int | None, int], runs: int = 2, **more: Any) -> dict[str, Any]:
    """Entries as (name, node, ns per run); without a node a delegate ran them."""
    return {
        "unit": "ns", "runs": runs, "resolution_ns": 1000, "elapsed": None, **more,
        "operators": [
            {"name": name, "node": node, "time": ns * runs, "calls": runs,
             "delegated": node is None}
            for name, node, ns in events
        ],
    }  # fmt: skip


def nodes(profile: Profile) -> list[int | None]:
    return [operator.node for operator in profile.operators]


# -- aligning ----------------------------------------------------------------------------------


def table(weights: Sequence[Sequence[int]]) -> list[tuple[int | None, bool]]:
    rows = np.array(weights, np.int64)
    return align(len(rows), rows.shape[1], lambda index: rows[index])


def test_only_what_every_best_alignment_has_is_sure() -> None:
    assert table([[1, 0], [0, 1]]) == [(0, True), (1, True)]
    # One of two like items has a partner, nobody knows which.
    assert [sure for _, sure in table([[1], [1]])] == [False, False]
    assert table([[1, 1], [0, 0]]) == [(0, False), (None, False)]
    assert table([[0, 0], [0, 0]]) == [(None, False), (None, False)]
    # Order counts: the second cannot go before the first.
    assert table([[0, 5], [1, 0]]) == [(1, True), (None, False)]
    assert align(0, 3, lambda _: np.zeros(3, np.int64)) == []


def test_alignments_are_the_best_there_are() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        count, others = rng.integers(1, 7, 2)
        weights = rng.integers(0, 4, (count, others))
        best: dict[tuple[int, int], int] = {}
        for i in range(count + 1):
            for j in range(others + 1):
                best[i, j] = 0 if not i or not j else max(
                    best[i - 1, j], best[i, j - 1], best[i - 1, j - 1] + weights[i - 1, j - 1]
                )  # fmt: skip
        found = table(weights)
        pairs = [(i, j) for i, (j, _) in enumerate(found) if j is not None]
        assert sum(weights[pair] for pair in pairs) == best[count, others]
        assert all(one[1] < other[1] for one, other in pairwise(pairs))
        assert all(weights[pair] > 0 for pair in pairs)


# -- joining -----------------------------------------------------------------------------------


def test_what_the_runtime_ran_is_known_by_its_node() -> None:
    made = join(message(("ADD", 0, 5000), ("MUL", 1, 3000)), graph("ADD", "MUL"), timed=True)
    first, second = made.operators
    assert (first.type, first.output, first.shape, first.dtype, first.delegated) == (
        "ADD", "net/add_0", (1, 1), "float32", False,
    )  # fmt: skip
    assert (second.node, second.time_ns, second.calls) == (1, 3000, 1)
    assert made.sum_ns == 8000 and made.share(second.time_ns) == 3 / 8 and not made.unseen_count


def test_nodes_that_are_not_the_files_stay_unjoined() -> None:
    events = message(("ADD", 7, 1), ("SUB", 0, 1), ("MUL", 1, 1), ("MUL", 1, 1))
    made = join(events, graph("ADD", "MUL"), timed=True)
    # Out of range; of another type; and a number that comes twice.
    assert nodes(made) == [None] * 4 and made.unseen_count == 2
    assert [operator.type for operator in made.operators] == ["ADD", "SUB", "MUL", "MUL"]


def test_what_a_delegate_made_is_aligned_with_what_it_was_made_of() -> None:
    file = graph("CONV_2D", "RELU", "DEPTHWISE_CONV_2D", "ADD", "SOFTMAX", "RESHAPE", "ADD")
    made = join(
        message(
            ("Convolution (NHWC, F32) IGEMM", None, 9), ("Convolution (NHWC, F32) DWConv", None, 8),
            ("Convert (NC, F32, QDU8)", None, 1), ("Add (ND)", None, 2), ("SOFTMAX", 4, 3),
            ("Static Reshape (NC)", None, 0), ("Static Reshape (NC)", None, 0),
            ("Add (ND)", None, 2),
        ),
        file, timed=True,
    )  # fmt: skip
    # The fused RELU is not seen; one of two reshapes is the file's, nobody knows which.
    assert nodes(made) == [0, 2, None, 3, 4, None, None, 6]
    assert [(node, type_) for node, type_, _ in made.unseen] == [(1, "RELU"), (5, "RESHAPE")]
    assert [total.type for total in made.types][:2] == ["CONV_2D", "DEPTHWISE_CONV_2D"]
    assert {item.type: item.count for item in made.types}["Static Reshape"] == 2


def test_a_convolution_of_one_by_one_is_a_fully_connected_one_to_a_delegate() -> None:
    event = message(("Fully Connected (NC, F32) GEMM", None, 9))
    assert nodes(join(event, graph("CONV_2D", kernel=(1, 1)), timed=True)) == [0]
    assert nodes(join(event, graph("CONV_2D", kernel=(3, 3)), timed=True)) == [None]


def test_one_entry_for_a_whole_partition_says_what_it_covers() -> None:
    file = graph("ADD", "MUL", "CUSTOM_THING", "SUB", "ADD")
    made = join(
        message(("TfLiteNnapiDelegate", None, 90), ("CUSTOM_THING", 2, 5),
                ("TfLiteNnapiDelegate", None, 40)),
        file, timed=True,
    )  # fmt: skip
    assert [operator.covers for operator in made.operators] == [2, 1, 2]
    assert made.unseen_count == 0 and nodes(made) == [None, 2, None]


@pytest.mark.parametrize("model", ["vww_96_float", "pretrainedResnet_quant"])
@pytest.mark.parametrize("form", ["opprof.csv", "opprof.txt", "xnn_false_opprof.txt"])
def test_recorded_profiles_are_joined(shared: Path, model: str, form: str) -> None:
    names = {"pretrainedResnet_quant": "ic_resnet8_int8"}
    text = (shared / "truth" / "benchmark_model_output" / f"{model}.{form}").read_text()
    file = read_graph(shared / "models" / "mlperf_tiny" / f"{names.get(model, model)}.tflite")
    made = join(messages.profile(read_operators(text, "b"), "b"), file, timed=True)
    assert all(made.sum_ns and operator.time_ns is not None for operator in made.operators)
    apart = [operator for operator in made.operators if not operator.joined]
    if form.startswith("xnn_false"):
        assert nodes(made) == list(range(len(file.operators))) and not apart
    else:
        # Only what takes next to nothing is left, and no operator has two entries.
        assert sum(operator.time_ns or 0 for operator in apart) < 0.06 * (made.sum_ns or 0)
        known = [node for node in nodes(made) if node is not None]
        assert known == sorted(set(known)) and len(known) >= len(file.operators) - 3
        convolutions = {op.index for op in file.operators if "CONV_2D" in op.name}
        assert convolutions <= set(known)


def test_truncated_profiles_are_refused(shared: Path) -> None:
    text = (shared / "truth/benchmark_model_output/vww_96_float.opprof.csv").read_text()
    begin = text.index("Operator-wise")
    for end in range(begin, text.index("Timings", begin), 997):
        with pytest.raises(ProtocolError):
            read_operators(text[:end], "b")


def test_the_body_of_a_loop_is_in_the_time_of_the_loop() -> None:
    events = message(("WHILE", 0, 900), ("ADD", 0, 400), ("Add (ND)", None, 300), ("MUL", 1, 50))
    for event in events["operators"][1:3]:
        event["graph"] = 2
    made = join(messages.profile(events, "b"), graph("WHILE", "MUL"), timed=True)
    assert nodes(made) == [0, 1] and made.sum_ns == 950 and made.inside == 2


def test_without_a_graph_there_are_times_and_a_reason() -> None:
    made = join(message(("ADD", 0, 5)), None, timed=True, note="the file cannot be read")
    assert made.sum_ns == 5 and nodes(made) == [None] and made.note


def test_an_emulated_device_has_shapes_and_no_times() -> None:
    event = message(("ADD", 0, 5000), elapsed=[9000, 9000])
    made = join(event, graph("ADD"), timed=False)
    assert made.operators[0].shape == (1, 1) and made.operators[0].delegated is False
    assert made.operators[0].time_ns is made.sum_ns is made.elapsed_ns is None
    assert made.types[0].time_ns is None and not made.near_resolution
    assert made.summary()["types"] == [["ADD", 1, None]]


def test_a_profile_of_zeros_has_no_shares() -> None:
    made = join(message(("ADD", 0, 0), ("MUL", 1, 0)), graph("ADD", "MUL"), timed=True)
    assert made.sum_ns == 0 and made.share(0.0) is None and made.near_resolution == 2
    assert compare(made, made).pairs[0].ratio is None


# -- times -------------------------------------------------------------------------------------


def test_disturbed_runs_do_not_count() -> None:
    calm, disturbed = [4000, 5000] * 20, [4_000_000] * 5
    events = message(("ADD", 0, 0), ("MUL", 1, 0), runs=45, elapsed=[*calm, *disturbed])
    events["operators"][0]["times"] = [*calm, *disturbed]
    events["operators"][1]["times"] = [1000] * 45
    made = join(messages.profile(events, "b"), graph("ADD", "MUL"), timed=True)
    assert made.robust and 4000 < (made.operators[0].time_ns or 0) < 5000
    assert made.operators[1].time_ns == 1000 and 4000 < (made.elapsed_ns or 0) <= 5000
    assert made.sum_ns == pytest.approx(sum(op.time_ns or 0 for op in made.operators))


def test_the_middle_half() -> None:
    assert midmean(np.array([1.0, 2.0, 3.0, 1000.0])) == 2.5
    assert midmean(np.array([7.0])) == 7.0
    assert list(middle_half(np.array([9.0, 1.0, 5.0, 4.0]))) == [2, 3]


@pytest.mark.parametrize(
    "change",
    [{"runs": 0}, {"runs": True}, {"elapsed": [1]}, {"elapsed": 5}, {"elapsed": [1, -1]},
     {"resolution_ns": -1}, {"resolution_ns": "1"}, {"unit": "us"}, {"operators": {}}],
)  # fmt: skip
def test_messages_that_make_no_sense(change: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        messages.profile({**message(("ADD", 0, 1)), **change}, "b")


@pytest.mark.parametrize("times", [[1], [1, 2, 3], [1, -2], [1, 2.0], "12", [1 << 62, 0]])
def test_times_that_make_no_sense(times: Any) -> None:
    made = message(("ADD", 0, 1))
    made["operators"][0]["times"] = times
    with pytest.raises(ProtocolError):
        messages.profile(made, "b")


# -- keeping -----------------------------------------------------------------------------------


def test_thousands_of_operators_are_joined_quickly_and_kept_bounded() -> None:
    count = 5000
    file = graph(*["CONV_2D", "ADD"] * (count // 2))
    events = message(
        *(
            ("Convolution (NHWC, F32) IGEMM" if place % 2 == 0 else "Add (ND)", None, place)
            for place in range(count)
        )
    )
    begin = time.monotonic()
    made = join(events, file, timed=True)
    assert time.monotonic() - begin < 20
    assert made.count == count and len(made.operators) == MAX_KEPT
    assert made.left_out == count - MAX_KEPT and made.sum_ns == sum(range(count))
    assert nodes(made) == list(range(count - MAX_KEPT, count))  # the slowest, in their order
    assert sum(total.count for total in made.types) == count
    assert len(json.dumps(made.as_json())) < 1_000_000


def test_what_is_kept_comes_back() -> None:
    events = message(("Add (ND)", None, 5), ("MUL", 1, 3), ("Copy (NC)", None, 1))
    made = join(events, graph("ADD", "MUL", "SUB"), timed=True)
    kept = json.loads(json.dumps(made.as_json()))
    assert Profile.from_json(kept) == made and made.unseen == ((2, "SUB", "net/sub_2"),)
    with pytest.raises(StoreVersionError, match="version 2"):
        Profile.from_json({**kept, "version": 2})


# -- comparing ---------------------------------------------------------------------------------


def profiled(*events: tuple[str, int, str]) -> Profile:
    """Operators as (type, ns, output)."""
    types = [type_ for type_, _, _ in events]
    file = graph(*types, outputs=[output for _, _, output in events])
    return join(
        message(*((type_, node, ns) for node, (type_, ns, _) in enumerate(events))), file,
        timed=True,
    )  # fmt: skip


def test_inserted_operators_have_no_partner() -> None:
    base = profiled(("CONV_2D", 90_000, "a/Relu;a/Conv2D1"), ("ADD", 20_000, "b/add"),
                    ("SOFTMAX", 5000, "out:0"))  # fmt: skip
    head = profiled(("QUANTIZE", 4000, "in_int8"), ("CONV_2D", 30_000, "a/Relu;a/Conv2D2"),
                    ("ADD", 21_000, "b/add"), ("SOFTMAX", 5000, "out:0_int8"),
                    ("DEQUANTIZE", 2000, "out:0"))  # fmt: skip
    made = compare(base, head)
    shown = [(pair.shown.type, pair.difference_ns) for pair in made.pairs]
    assert shown == [
        ("CONV_2D", -60_000), ("QUANTIZE", 4000), ("DEQUANTIZE", 2000), ("ADD", 1000),
        ("SOFTMAX", 0),
    ]  # fmt: skip
    assert made.pairs[0].ratio == pytest.approx(1 / 3)
    assert made.pairs[1].base is None and made.pairs[1].ratio is None
    assert made.difference_ns == -53_000 == sum(pair.difference_ns or 0 for pair in made.pairs)


def test_names_decide_between_operators_of_one_type() -> None:
    base = profiled(("ADD", 1, "one/add"), ("ADD", 2, "two/add"), ("ADD", 3, "three/add"))
    head = profiled(("ADD", 5, "one/add"), ("ADD", 9, "three/add"))
    made = {pair.shown.output: pair for pair in compare(base, head).pairs}
    assert made["two/add"].head is None and made["two/add"].difference_ns == -2
    assert made["three/add"].head is not None and made["three/add"].head.time_ns == 9


def test_another_type_is_another_operator_whatever_its_name() -> None:
    made = compare(profiled(("CONV_2D", 5, "x")), profiled(("DEPTHWISE_CONV_2D", 5, "x")))
    assert [(p.base is None, p.head is None) for p in made.pairs] == [(False, True), (True, False)]


def test_of_sides_without_times_the_operators_are_compared() -> None:
    timed = profiled(("ADD", 1, "x"))
    other = join(message(("ADD", 0, 1)), graph("ADD", outputs=["x"]), timed=False)
    made = compare(timed, other)
    assert made.difference_ns is None and made.pairs[0].difference_ns is None
    assert made.pairs[0].head is not None


def test_a_real_model_and_its_quantized_file(digits: dict[str, Path]) -> None:
    def of(recipe: str, ns: int) -> Profile:
        file = read_graph(digits[recipe])
        events = [(operator.name, operator.index, ns) for operator in file.operators]
        return join(message(*events), file, timed=True)

    made = compare(of("float32", 4000), of("int16x8", 1000))
    alone = [pair.shown.type for pair in made.pairs if pair.base is None or pair.head is None]
    assert alone == ["QUANTIZE", "DEQUANTIZE"]
    both = [pair for pair in made.pairs if pair.base and pair.head]
    assert len(both) == 8
    assert all(pair.base and pair.head and pair.base.shape == pair.head.shape for pair in both)
