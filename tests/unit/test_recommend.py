"""Recommendations from constructed records in a real store."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.decide.recommend import Choice, Difference, recommend
from harness.domain import DeviceKind, Direction, JobStatus, Measurement, Stage, TrialStatus
from harness.errors import UsageError
from harness.reports import recommend as forms
from harness.reports.texts import plain_text
from harness.store import Conclusion, JobRecord, Store
from tests.support.nights import Cell, add_night


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/s.db") as opened:
        yield opened


def apart(least: JobRecord, others: Sequence[JobRecord], goal: str) -> list[Difference]:
    """Everything that is not equal can be told apart."""
    name = "latency_median" if goal == "latency" else goal
    ratios = [o.measurements[name].value / least.measurements[name].value for o in others]
    return [Difference(ratio > 1, ratio, 0.9, 1.1) for ratio in ratios]


def alike(least: JobRecord, others: Sequence[JobRecord], goal: str) -> list[Difference]:
    return [Difference(False, 1.01, 0.99, 1.03) for _ in others]


def chosen(
    store: Store, cells: list[Cell], goal: str = "latency", tell: Any = apart, **bounds: float
) -> Choice:
    run = add_night(store, len(store.runs()) + 1, cells)
    (choice,) = recommend(store.jobs(run), bounds, goal, tell)
    return choice


def why(choice: Choice) -> dict[str, str]:
    return {item.record.job.recipe: "; ".join((*item.outside, *item.lost))
            for item in choice.options}  # fmt: skip


CELLS = [
    Cell("float32", latency=30.0, accuracy=0.90, size=4_000_000),
    Cell("float16", latency=29.0, accuracy=0.90, size=2_000_000),
    Cell("int8", latency=10.0, accuracy=0.895, size=1_000_000),
    Cell("int16x8", latency=8.0, accuracy=0.85, size=1_100_000),
]


def test_a_run_that_is_not_done_has_no_last_word(store: Store) -> None:
    run = add_night(store, 1, CELLS)
    assert harness.recommend(run, store=store).complete
    open_ = add_night(store, 2, [Cell("float32"), Cell("int8")], seal=False)
    found = harness.recommend(open_, store=store)
    assert (found.pending, found.complete) == (2, False)
    for form in (plain_text(forms.parts(found), 100), forms.as_markdown(found)):
        assert "2 jobs are not done yet" in form and "--resume" in form
    assert json.loads(forms.as_json(found))["pending"] == 2


def test_the_fastest_within_the_bounds_and_why_not_the_others(store: Store) -> None:
    choice = chosen(
        store, CELLS, max_accuracy_drop=1, max_latency_ms=29.5, max_size=3e6
    )  # fmt: skip
    assert choice.best is not None and choice.best.record.job.recipe == "int8"
    assert why(choice) == {
        "int8": "", "float16": "slower: 2.9 times", "int16x8": "5.00 points below float32",
        "float32": "30 ms, over 29.5 ms; 4 MB, over 3 MB",
    }  # fmt: skip
    assert [item.record.job.recipe for item in choice.options if item.frontier] == [
        "int8", "float16", "int16x8",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("goal", "best"), [("latency", "int16x8"), ("size", "int8"), ("memory", "float32")]
)
def test_goals(store: Store, goal: str, best: str) -> None:
    cells = [*CELLS[1:], Cell("float32", latency=30.0, size=4_000_000, memory=20e6)]
    tell = (lambda a, b, g: [Difference(True) for _ in b]) if goal == "memory" else apart
    choice = chosen(store, cells, goal, tell)
    assert choice.best is not None and choice.best.record.job.recipe == best


def test_of_those_alike_the_smaller_then_the_more_accurate(store: Store) -> None:
    cells = [Cell("a", latency=10.0, size=1200), Cell("b", latency=10.1, size=1000)]
    choice = chosen(store, cells, tell=alike)
    assert choice.best is not None and choice.best.record.job.recipe == "b"
    assert choice.alike == (
        "b (cpu x4) and a (cpu x4) cannot be told apart in latency (ratio 1.010, 95 % 0.990 to "
        "1.030): the smaller one is taken",
    )
    assert "larger by 20 %" in why(choice)["a"]
    cells = [Cell("a", latency=10.0, accuracy=0.8), Cell("b", latency=10.1, accuracy=0.9)]
    choice = chosen(store, cells, tell=alike)
    assert choice.best is not None and choice.best.record.job.recipe == "b"
    assert "the more accurate one is taken" in choice.alike[0]
    errors = [Cell("a", metric="mse", accuracy=0.8), Cell("b", metric="mse", accuracy=0.9)]
    choice = chosen(store, errors, tell=alike)  # of an error less is better
    assert choice.best is not None and choice.best.record.job.recipe == "a"


def test_what_is_not_known_keeps_no_bound(store: Store) -> None:
    cells = [Cell("int8", accuracy=None, memory=None), Cell("int16x8", metric="mse")]
    choice = chosen(store, cells, max_accuracy_drop=1, max_memory=1e9)
    assert choice.best is None and forms.conclusion(choice) == "none keeps the bounds"
    assert why(choice) == {
        "int8": "memory is not known; its accuracy is not known",
        "int16x8": "mse is no share: points of it mean nothing",
    }
    choice = chosen(store, [Cell("int8")], max_accuracy_drop=1)
    assert "there is no float32" in why(choice)["int8"]
    choice = chosen(store, [Cell("int8", latency=None)])
    assert choice.best is None and why(choice) == {"int8": "latency is not known"}


def test_an_emulated_device_has_no_latency_to_choose_by(store: Store) -> None:
    cell = Cell(kind=DeviceKind.EMULATED, latency=None, memory=None)
    choice = chosen(store, [cell])
    assert choice.best is None and why(choice) == {"float32": "an emulated device has no latency"}
    assert chosen(store, [cell], "size").best is not None


def test_jobs_without_numbers_say_why(store: Store) -> None:
    cells = [
        Cell("int8", status=JobStatus.FAILED, error="the link was cut"),
        Cell("float32", status=JobStatus.UNSUPPORTED, error="integers only"),
    ]
    choice = chosen(store, cells)
    assert choice.best is None and "nothing was measured" in forms.conclusion(choice)
    assert "the link was cut" in why(choice)["int8"] and why(choice)["float32"] == "integers only"
    run = add_night(store, 9, [Cell()], seal=False)
    (choice,) = recommend(store.jobs(run), {}, "latency", apart)
    assert choice.best is None and "resume the run" in why(choice)["float32"]


def test_devices_and_models_are_chosen_for_by_themselves(store: Store) -> None:
    add_night(
        store, 1,
        [Cell(), Cell(device="pi"), Cell(device="pi", model="other"), Cell("int8", latency=1.0)],
    )  # fmt: skip
    found = harness.recommend(store=store)
    assert [(c.device, c.model, len(c.options)) for c in found.choices] == [
        ("board", "m", 2), ("pi", "m", 1), ("pi", "other", 1),
    ]  # fmt: skip
    assert found.complete


def test_the_forms_say_the_same(store: Store) -> None:
    hostile = "<img src=x>|`"
    cells = [Cell(model=hostile), Cell("int8", model=hostile, latency=1.0, size=3_000_000)]
    add_night(store, 1, cells)
    found = harness.recommend(max_size="2MB", max_latency_ms=20, store=store)
    text = plain_text(forms.parts(found), 100)
    assert max(map(len, text.splitlines())) <= 100
    assert "take float32 (cpu x4)" in text and "int8 (cpu x4): 3 MB, over 2 MB" in text
    whole = json.loads(forms.as_json(found))
    assert whole["choices"][0]["best"]["recipe"] == "float32"
    assert whole["bounds"] == {"max_latency_ms": 20.0, "max_size": 2_000_000.0}
    read = list(csv.DictReader(io.StringIO(forms.as_csv(found))))
    assert [row["best"] for row in read] == ["True", "False"]
    assert "<img" not in forms.as_markdown(found)


def test_what_cannot_be_asked_for(store: Store) -> None:
    add_night(store, 1, [Cell()])
    with pytest.raises(UsageError, match="cannot minimize"):
        harness.recommend(minimize="speed", store=store)
    with pytest.raises(UsageError, match="max_size"):
        harness.recommend(max_size="2 apples", store=store)


def spread(median: float, by: float, seed: int, trials: int = 5) -> list[float]:
    return list(median * np.random.default_rng(seed).normal(1, by, trials))


def timed(recipe: str, median: float, seed: int, **more: Any) -> Cell:
    return Cell(recipe, latency=median, medians=spread(median, 0.005, seed), **more)


def test_the_test_of_comparisons_tells_apart(store: Store) -> None:
    cells = [
        timed("a", 10.0, 0, size=3000), timed("b", 10.05, 1, size=2000),
        timed("c", 11.0, 2, size=1000), Cell("d", latency=10.0, medians=[10.0], size=2500),
    ]  # fmt: skip
    add_night(store, 1, cells)
    (choice,) = harness.recommend(store=store).choices
    assert choice.best is not None and choice.best.record.job.recipe == "b"
    assert why(choice)["c"] == "slower than a (cpu x4) by 10 %"
    assert "by the estimates alone: one trial says nothing" in why(choice)["d"]
    assert any("b (cpu x4) and a (cpu x4) cannot be told apart" in line for line in choice.alike)


def test_memory_and_size_are_told_apart_too(store: Store) -> None:
    cells = [
        timed("a", 10.0, 0, size=3000, memory=30e6, peaks=spread(30e6, 0.005, 3)),
        timed("b", 10.0, 1, size=2000, memory=40e6, peaks=spread(40e6, 0.005, 4)),
    ]  # fmt: skip
    add_night(store, 1, cells)
    for goal, best, reason in (
        ("memory", "a", "more memory by 33.3 %"), ("size", "b", "larger by 50 %"),
    ):  # fmt: skip
        (choice,) = harness.recommend(minimize=goal, store=store).choices
        assert choice.best is not None and choice.best.record.job.recipe == best
        assert reason in why(choice).values() and not choice.alike


def test_a_clock_too_coarse_tells_nothing_apart(store: Store) -> None:
    run = add_night(store, 1, [Cell("a", latency=0.001), Cell("b", latency=0.002)], seal=False)
    for record, value in zip(store.jobs(run), (1000, 2000), strict=True):
        for index in range(5):
            trial = store.begin_trial(record.id, index, "latency")
            store.append_samples(trial, 0, "measure", np.arange(9), np.full(9, value))
            store.end_trial(trial, TrialStatus.OK)
        measurement = Measurement("latency_median", value / 1e6, "ms", Direction.LOWER, 45)
        store.seal_job(Conclusion(
            record.id, JobStatus.OK, Stage.DONE, size_bytes=record.job.index + 1,
            measurements=[measurement], facts={"clock": {"resolution_ns": 1000}},
        ))  # fmt: skip
    (choice,) = harness.recommend(store=store).choices
    assert "clock's step" in choice.alike[0]


def test_what_was_not_compared_is_not_alike(store: Store) -> None:
    """With one trial each no small variant is taken for want of a difference that is shown."""
    cells = [
        Cell("fast", latency=1.0, size=2000, medians=[1.0]),
        Cell("slow", latency=100.0, size=1000, medians=[100.0]),
    ]
    add_night(store, 1, cells)
    (choice,) = harness.recommend(store=store).choices
    assert choice.best is not None and choice.best.record.job.recipe == "fast"
    assert why(choice)["slow"].startswith("slower: 100 times by the estimates alone: one trial")
