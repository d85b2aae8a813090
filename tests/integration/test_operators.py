"""Profiles of real agents: measured, joined, kept, shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from harness.errors import UsageError
from harness.reports import operator_charts, operators_table
from harness.reports.profiles import JobProfile
from harness.store import Store
from tests.support import write_suite
from tests.support.benchmark_model import write_tool
from tests.support.sshd import Sshd

MEASURE = 'measure = ["latency", "accuracy", "operators"]\noperator_runs = 20\n'


@pytest.fixture(scope="module")
def result(
    tmp_path_factory: pytest.TempPathFactory, digits: dict[str, Path]
) -> Iterator[harness.RunResult]:
    """The native agent, the Python agent and a benchmark_model on this machine."""
    folder = tmp_path_factory.mktemp("operators")
    tables = (
        '[device.native]\ntransport = "local"\nagent = "native"\n'
        '[device.tool]\ntransport = "local"\naccelerators = ["cpu", "xnnpack"]\n'
        f'default_backend = "xnnpack x1"\nbenchmark_model = "{write_tool(folder)}"\n'
    )
    suite = write_suite(
        folder / "suite.toml", devices=["native", "local", "tool"], device=tables,
        recipes=["float32", "int8"], policy=MEASURE, limit=20,
    )  # fmt: skip
    yield harness.run(suite, store=f"sqlite:///{folder}/h.db")


def of(result: harness.RunResult, device: str, recipe: str) -> JobProfile:
    (found,) = result.profiles(device=device, recipe=recipe)
    return found


def test_no_job_fails_of_it(result: harness.RunResult) -> None:
    assert result.outcome is not None and result.outcome.exit_code == 0
    for row in result.rows():
        assert row["status"] == "ok" and row["latency_median_ms"] and row["accuracy"] is not None


@pytest.mark.parametrize("recipe", ["float32", "int8"])
def test_the_native_agents_profile_is_joined(result: harness.RunResult, recipe: str) -> None:
    item = of(result, "native", recipe)
    profile = item.profile
    assert profile is not None and profile.robust and profile.runs == 20
    found = {operator.node: operator for operator in profile.operators if operator.joined}
    # Of the eight operators all but the reshape are found, whatever the delegate made of them.
    assert {0, 1, 2, 3, 5, 6, 7} <= set(found)
    assert found[1].type == "CONV_2D" and found[1].shape == (1, 8, 8, 48)
    assert found[1].output.startswith("digits_cnn/re_lu_1/Relu")
    assert found[1].dtype == ("int8" if recipe == "int8" else "float32")
    assert found[1].delegated is True and found[1].name.startswith("Convolution")
    assert found[7].delegated is (recipe == "float32")  # XNNPACK has no softmax of integers
    assert profile.resolution_ns == 1000 and profile.near_resolution
    assert profile.elapsed_ns and profile.sum_ns and profile.sum_ns < profile.elapsed_ns
    assert item.median_ns and item.profiler_share is not None


def test_the_python_agent_says_what_to_do(result: harness.RunResult) -> None:
    item = of(result, "local", "int8")
    assert item.profile is None and 'agent = "native"' in item.reason
    assert item.record.facts["operators"] == {"unsupported": item.reason}


def test_benchmark_models_profile_has_means_and_what_is_no_ones(
    result: harness.RunResult,
) -> None:
    profile = of(result, "tool", "int8").profile
    assert profile is not None and not profile.robust and profile.elapsed_ns
    # The stand-in prints a SOFTMAX of node 15, in a file of eight operators.
    assert [(op.name, op.node, op.time_ns) for op in profile.operators] == [
        ("Convolution (NHWC, QC8) IGEMM", None, 5000), ("SOFTMAX", None, 5000),
    ]  # fmt: skip
    assert profile.unseen_count == 8


def test_store_and_python_have_the_profile(result: harness.RunResult) -> None:
    frame = result.operators()
    native = frame[(frame.device == "native") & (frame.recipe == "float32")]
    assert native.time_ms.is_monotonic_decreasing and native.share.sum() == pytest.approx(1)
    store = result.view.store
    assert isinstance(store, Store)
    facts = store.facts_of(result.id, "operators")
    assert set(facts) == {job.id for job in result.view.jobs}
    with pytest.raises(UsageError, match="no device 'nowhere'"):
        result.profiles(device="nowhere")


def test_two_recipes_are_compared(result: harness.RunResult) -> None:
    (pair,) = harness.compare_operators(
        result, device="native", recipe="float32", against_recipe="int8"
    )
    both = {p.base.node for p in pair.comparison.pairs if p.base and p.head and p.base.joined}
    assert {0, 1, 2, 3, 5, 6, 7} <= both
    assert any(text.startswith("recipe float32 / int8") for text in pair.differences)
    with pytest.raises(UsageError, match='agent = "native"'):
        harness.compare_operators(result, device="local", recipe="int8", against_recipe="float32")
    with pytest.raises(UsageError, match="no two profiles"):
        harness.compare_operators(result, result)


def test_tables_fit_and_the_comparison_names_what_takes_most(result: harness.RunResult) -> None:
    table = result.text("table", width=100)
    assert "operators of float32: most time CONV_2D" in table
    assert "operators: not profiled: local: the Python agent" in " ".join(table.split())
    shown = operators_table.render_profiles(result.profiles(), 30, 100)
    assert max(map(len, shown.splitlines() + table.splitlines())) <= 100
    assert "Static Reshape (NC)" in shown and "(made by the delegate)" in shown
    assert "means over the middle half of 20 runs" in shown and "a disturbed run moves" in shown
    assert "of the unprofiled median" in shown and "(~ or <)" in shown
    pictures, without = operator_charts.pictures(result.view)
    assert len(pictures) == 4 and len(without) == 1 and "native" in without[0]


def test_an_emulated_device_has_shapes_and_no_times(
    tmp_path: Path, sshd: Sshd, digits: dict[str, Path]
) -> None:
    suite = write_suite(
        tmp_path / "suite.toml", devices=["board"], recipes=["int8"], policy=MEASURE, limit=20,
        device=sshd.device("board", kind="emulated", agent="native", python=None),
    )  # fmt: skip
    result = harness.run(suite, store=f"sqlite:///{tmp_path}/h.db")
    (item,) = result.profiles()
    assert item.profile is not None, item.reason
    softmax = item.profile.operators[-1]
    assert softmax.shape == (1, 10) and softmax.delegated is False and softmax.time_ns is None
    shown = operators_table.render_profiles([item], 30, 100)
    assert "emulated device: shapes and delegation only" in shown and "1x8x8x48" in shown
    text = result.text("table", 100)
    assert "10 operators, 9 delegated: " in text and "most time" not in text
    assert operator_charts.pictures(result.view)[0][0]["figure"] is None


@pytest.mark.slow
def test_a_profile_that_cannot_be_read_costs_nothing_else(
    tmp_path: Path, digits: dict[str, Path]
) -> None:
    tool = write_tool(tmp_path)
    tool.write_text(tool.read_text().replace("node type, first, avg_ms", "node type, avg_ns"))
    suite = write_suite(
        tmp_path / "suite.toml", devices=["tool"], recipes=["int8"], policy=MEASURE, limit=5,
        device='[device.tool]\ntransport = "local"\naccelerators = ["cpu", "xnnpack"]\n'
        f'default_backend = "xnnpack x1"\nbenchmark_model = "{tool}"\n',
    )  # fmt: skip
    result = harness.run(suite, store=f"sqlite:///{tmp_path}/h.db")
    (row,), (item,) = result.rows(), result.profiles()
    assert row["status"] == "ok" and row["latency_median_ms"]
    assert item.profile is None and "no profile: " in item.reason and "avg_ns" in item.reason
