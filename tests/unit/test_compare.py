"""``harness compare`` over runs written without a device: which verdict, and when there is none."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.api.deciding import CompareResult, compare
from harness.domain import DeviceKind, JobStatus, Outcome, Verdict
from harness.errors import UsageError
from harness.store import Store
from tests.support.nights import Cell, add_night


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/s.db") as opened:
        yield opened


def timed(median: float = 10.0, seed: int = 0, trials: int = 7, **more: Any) -> Cell:
    medians = list(median * np.random.default_rng(seed).normal(1, 0.004, trials))
    given: dict[str, Any] = {
        "latency": median,
        "medians": medians,
        "correct": np.ones(100, bool),
        "peaks": [3e7 + n for n in range(7)],
    }
    return Cell(**{**given, **more})


def nights(store: Store, before: list[Cell], after: list[Cell], **how: Any) -> CompareResult:
    base, head = add_night(store, 1, before), add_night(store, 2, after)
    return compare(base, head, store=store, **how)


def of(found: CompareResult, metric: str) -> Verdict:
    return next(v for c in found.comparison.cells for v in c.verdicts if v.metric == metric)


@pytest.mark.parametrize(
    ("median", "outcome"),
    [(10.0, Outcome.NO_DIFFERENCE), (11.0, Outcome.WORSE), (9.0, Outcome.BETTER)],
)
def test_latency(store: Store, median: float, outcome: Outcome) -> None:
    found = nights(store, [timed(seed=1)], [timed(median, seed=2)])
    verdict = of(found, "latency_median")
    assert verdict.outcome is outcome and found.worse == (outcome is Outcome.WORSE)
    assert verdict.low is not None and verdict.high is not None
    assert verdict.low < median / 10 < verdict.high


def test_a_difference_of_no_account_is_none_and_says_so(store: Store) -> None:
    found = nights(store, [timed(seed=1)], [timed(10.15, seed=2)])
    verdict = of(found, "latency_median")
    assert verdict.outcome is Outcome.NO_DIFFERENCE and "minimum effect of 2 %" in verdict.reason
    assert verdict.adjusted is not None and verdict.adjusted < 0.05
    again = compare("20260102", "20260103", store=store, min_effect=0.005)
    assert of(again, "latency_median").outcome is Outcome.WORSE


def test_accuracy_on_the_same_samples(store: Store) -> None:
    right = np.arange(1000) % 10 > 0
    lost = right & (np.arange(1000) % 50 != 7)
    found = nights(store, [timed(correct=right)], [timed(correct=lost, accuracy=0.88)])
    assert of(found, "top1").outcome is Outcome.WORSE
    assert of(found, "top1").effect == pytest.approx(-0.02)


def test_size_is_exact(store: Store) -> None:
    assert of(nights(store, [timed()], [timed(size=1001)]), "size").outcome is Outcome.WORSE


@pytest.mark.parametrize(
    ("before", "after", "metric", "words"),
    [
        (timed(), timed(trials=1), "latency_median", "one trial"),
        (timed(), Cell(medians=()), "latency_median", "head has no trial"),
        (timed(), timed(latency=None, medians=()), "latency_median", "the head has none"),
        (timed(), timed(accuracy=None), "top1", "the head has none"),
        (timed(), timed(memory=None), "memory_peak", "the head has none"),
        (Cell(medians=[10, 10]), Cell(medians=[11, 11]), "latency_median", "too few"),
        (Cell(medians=[10, 10], kind=DeviceKind.SIMULATED),
         Cell(medians=[11, 11], kind=DeviceKind.SIMULATED), "latency_median", "too few"),
        (timed(), timed(metric="auc"), "auc", "another"),
        (timed(), timed(facts={"dataset_sha256": "e"}), "top1", "other samples"),
        (timed(), timed(facts={"dataset_sha256": None}), "top1", "not kept"),
        (timed(), timed(correct=()), "top1", "run it again"),
    ],
)  # fmt: skip
def test_what_nobody_can_tell(
    store: Store, before: Cell, after: Cell, metric: str, words: str
) -> None:
    verdict = of(nights(store, [before], [after]), metric)
    assert verdict.outcome is Outcome.CANNOT_TELL and words in verdict.reason


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (timed(kind=DeviceKind.SIMULATED), "kind"),
        (timed(version="2.1"), "runtime"),
        (timed(runtime="", version=""), "runtime"),
        (timed(backend="cpu x2"), "threads"),
        (timed(backend="cpu x4 (runner=benchmark_model)"), "backend"),
        (timed(facts={"platform": {"machine": "x86_64"}}), "device"),
        (timed(facts={"agent": ["native", "1"]}), "agent"),
    ],
)
def test_what_is_not_comparable_is_refused_by_name(store: Store, head: Cell, name: str) -> None:
    base = timed(facts={"agent": ["python", "1"]})
    found = nights(store, [base], [head])
    (cell,) = found.comparison.cells
    assert not cell.verdicts and cell.refused.startswith(f"{name} ") and found.nothing
    assert f"(--allow {name})" in cell.refused
    allowed = compare("20260102", "20260103", store=store, allow=[name])
    assert allowed.comparison.cells[0].verdicts and not allowed.nothing


def test_jobs_without_numbers(store: Store) -> None:
    failed = Cell("int8", status=JobStatus.FAILED, error="cut off")
    found = nights(store, [timed(), failed], [timed(), timed(recipe="int8"), timed(recipe="x")])
    refused = {item.cell.any.job.recipe: item.refused for item in found.comparison.cells}
    assert refused == {
        "float32": "",
        "int8": "the base's job is failed: cut off",
        "x": "only the head has this job",
    }
    assert found.unclear and not found.nothing


def test_variants_and_devices_of_a_run(store: Store) -> None:
    cells = [timed(), timed(5.0, recipe="int8"), timed(20.0, device="other")]
    run = add_night(store, 1, cells)
    assert of(compare(f"{run}:float32", f"{run}:int8", store=store), "latency_median").effect
    across = compare(f"{run}:float32@board", f"{run}:float32@other", store=store)
    assert of(across, "latency_median").effect == pytest.approx(2, rel=0.01)
    for base, head in (
        (run, run), (run, f"{run}:int8"), (run, f"{run}@board"), (f"{run}:int8@", run),
        (f"{run}:int9", f"{run}:int8"), (f"{run}@board", f"{run}@nobody"), ("", run), (":x", run),
    ):  # fmt: skip
        with pytest.raises(UsageError):
            compare(base, head, store=store)


def test_many_cells_are_corrected_together(store: Store) -> None:
    """One of forty equal cells differs by as much as chance gives one in forty."""
    names = [f"r{n}" for n in range(40)]
    before = [timed(seed=n, recipe=name) for n, name in enumerate(names)]
    after = [timed(seed=100 + n, recipe=name) for n, name in enumerate(names)]
    found = nights(store, before, after, min_effect=0.0)
    cells = [v for c in found.comparison.cells for v in c.verdicts if v.metric == "latency_median"]
    assert min(v.p for v in cells if v.p is not None) < 0.05
    assert all(v.outcome is Outcome.NO_DIFFERENCE for v in cells)
    assert found.comparison.tests == 120
    assert "120 tests corrected together" in found.text()


def test_rows_for_programs_and_tables_within_their_width(store: Store) -> None:
    found = nights(store, [timed()], [timed(11.0, size=900, seed=3)])
    rows = json.loads(found.text("json"))
    assert {row["metric"]: row["outcome"] for row in rows} == {
        "latency_median": "worse",
        "top1": "no difference shown",
        "size": "better",
        "memory_peak": "no difference shown",
    }
    assert len(list(csv.DictReader(io.StringIO(found.text("csv"))))) == 4
    table = found.text("table", 100)
    assert max(map(len, table.splitlines())) <= 100 and "WORSE" in table
    assert "| latency | " in found.text("markdown")
    with pytest.raises(UsageError):
        found.text("yaml")
    narrow = found.text("table", 60)
    assert max(map(len, narrow.splitlines())) <= 60
    for said in ("WORSE", "better", "+9.7 ±0.6 %", "latency", "memory"):
        assert said in narrow, narrow


def test_two_models_of_one_run(store: Store) -> None:
    cells = [timed(seed=1, model="old"), timed(12.0, seed=2, model="new")]
    run = add_night(store, 1, [*cells, timed(1.0, seed=3, model="other")])
    found = compare(f"{run}:old/float32", f"{run}:new/float32", store=store)
    (cell,) = found.comparison.cells
    assert of(found, "latency_median").outcome is Outcome.WORSE
    assert cell.cell.label == "old/float32 -> new/float32 on board (cpu x4)"
    assert "old -> new" in found.text()
    row = json.loads(found.text("json"))[0]
    assert (row["model_base"], row["model"]) == ("old", "new")
    assert str(compare(f"{run}:old/", f"{run}:new/@board".replace("@board", ""), store=store))
    for wrong in ("last:/int8", "last:old/int8@", "last:/"):
        with pytest.raises(UsageError, match="does not say what to compare"):
            compare(wrong, "last:new/float32", store=store)
    with pytest.raises(UsageError, match="has no model 'onld'"):
        compare(f"{run}:onld/", f"{run}:new/", store=store)
    with pytest.raises(UsageError, match="names a model"):
        compare(f"{run}:old/float32", f"{run}:float32", store=store)


def test_headings_of_markdown_are_escaped(store: Store) -> None:
    run = add_night(store, 1, [timed(recipe="a|b`c"), timed(recipe="d")])
    text = compare(f"{run}:a|b`c", f"{run}:d", store=store).text("markdown")
    assert text.splitlines()[0] == f"**{run}:d** against **{run}:a\\|b\\`c**"
