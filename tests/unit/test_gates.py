"""Gates held against constructed records in a real store, and the forms of their answers."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import numpy as np
import pytest

import harness
from harness.decide.gates import Finding
from harness.domain import Answer, DeviceKind, Gate, JobStatus
from harness.errors import StoreError, UsageError
from harness.reports import gates as forms
from harness.reports import junit
from harness.reports.gates import Checked
from harness.reports.texts import plain_text
from harness.store import Store
from tests.support.nights import Cell, add_night

HOSTILE = 'a<b>&"\x1b]0;owned|`\n]]>'


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/s.db") as opened:
        yield opened


def checked(store: Store, cells: list[Cell], *gates: Gate, seal: bool = True) -> Checked:
    add_night(store, len(store.runs()) + 1, cells, gates=gates, seal=seal)
    return harness.check(store=store)


def answers(found: Checked) -> list[tuple[str, Answer]]:
    return [(item.recipe, item.answer) for item in found.findings]


def one(store: Store, cell: Cell, **limits: Any) -> Finding:
    (finding,) = checked(store, [cell], Gate(**limits)).findings
    return finding


@pytest.mark.parametrize(
    ("limits", "answer"),
    [
        ({"max_latency_ms": 10.0}, Answer.PASSED),
        ({"max_latency_ms": 9.99}, Answer.FAILED),
        ({"max_size": 1000}, Answer.PASSED),
        ({"max_size": 999}, Answer.FAILED),
        ({"max_memory": 30_000_000}, Answer.PASSED),
        ({"max_memory": 29_999_999}, Answer.FAILED),
    ],
)
def test_the_point_estimate_decides(store: Store, limits: dict[str, Any], answer: Answer) -> None:
    found = checked(store, [Cell()], Gate(**limits))
    assert answers(found) == [("float32", answer)]
    assert found.passed == (answer is Answer.PASSED)


def test_an_interval_that_contains_the_bound_is_told(store: Store) -> None:
    near = one(store, Cell(latency=10.0, spread=0.02), max_latency_ms=10.1)
    assert near.answer is Answer.PASSED and near.straddles
    assert "the interval contains the bound" in forms.line(near)
    far = one(store, Cell(latency=10.0, spread=0.02), max_latency_ms=11.0)
    assert not far.straddles
    alone = one(store, Cell(latency=10.0, spread=None), max_latency_ms=11.0)
    assert alone.answer is Answer.PASSED and "one trial: no interval" in forms.line(alone)


def test_a_drop_is_in_points_against_float32(store: Store) -> None:
    cells = [Cell("float32", accuracy=0.9), Cell("int8", accuracy=0.895),
             Cell("int16x8", accuracy=0.88)]  # fmt: skip
    found = checked(store, cells, Gate(max_accuracy_drop=0.5))
    assert answers(found) == [
        ("float32", Answer.NOT_APPLICABLE), ("int8", Answer.PASSED), ("int16x8", Answer.FAILED),
    ]  # fmt: skip
    assert found.findings[2].found.value == pytest.approx(2.0)
    gain = checked(store, [Cell("float32"), Cell("int8", accuracy=0.95)], Gate(max_accuracy_drop=0))
    assert gain.findings[1].answer is Answer.PASSED


def test_where_float32_cannot_run_another_device_stands_in(store: Store) -> None:
    unable = Cell("float32", device="tpu", backend="edgetpu", status=JobStatus.UNSUPPORTED)
    cells = [Cell("float32"), unable, Cell("int8", device="tpu", backend="edgetpu", accuracy=0.5)]
    found = checked(store, cells, Gate(max_accuracy_drop=1, devices=("tpu",)))
    assert answers(found) == [("float32", Answer.NOT_APPLICABLE), ("int8", Answer.FAILED)]
    assert "against float32 on board" in forms.line(found.findings[1])


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([Cell("int8")], "no float32 of m"),
        ([Cell("float32", accuracy=None), Cell("int8", accuracy=0.9)], "no float32 of m"),
        ([Cell("float32"), Cell("int8", accuracy=None)], "accuracy was not measured"),
        ([Cell("float32", metric="mse"), Cell("int8", metric="mse")], "mse is no share"),
    ],
)
def test_a_drop_that_cannot_be_told(store: Store, cells: list[Cell], words: str) -> None:
    found = checked(store, cells, Gate(max_accuracy_drop=1, recipes=("int8",)))
    assert answers(found) == [("int8", Answer.CANNOT_TELL)] and not found.passed
    assert words in forms.line(found.findings[0])


def delegated(nodes: object, total: object, backend: str = "edgetpu") -> Cell:
    facts = {"delegated": {"accelerator": "edgetpu", "nodes": nodes, "total": total}}
    return Cell("int8", backend=backend, facts=facts)


@pytest.mark.parametrize(
    ("cell", "answer"),
    [
        (delegated(9, 10), Answer.PASSED),
        (delegated(8, 10), Answer.FAILED),
        (delegated(None, 10), Answer.CANNOT_TELL),
        (delegated("9", "10"), Answer.CANNOT_TELL),
        (delegated(0, 0), Answer.CANNOT_TELL),
        (Cell("int8", backend="gpu"), Answer.CANNOT_TELL),
    ],
)
def test_the_share_of_delegated_operators(store: Store, cell: Cell, answer: Answer) -> None:
    assert one(store, cell, min_delegated=0.9).answer is answer


def test_a_processor_delegates_only_where_it_is_named(store: Store) -> None:
    cell = delegated(1, 10, "cpu x4")
    found = checked(store, [cell], Gate(min_delegated=0.9))
    assert [item.answer for item in found.findings] == [
        Answer.NOT_APPLICABLE, Answer.CANNOT_TELL,
    ]  # fmt: skip
    assert "nothing was held against it" in forms.line(found.findings[1])
    assert one(store, cell, min_delegated=0.9, backends=("cpu x4",)).answer is Answer.FAILED


@pytest.mark.parametrize("limit", ["max_latency_ms", "max_memory", "max_accuracy_drop"])
@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.SKIPPED])
def test_a_job_without_numbers_is_never_passed(store: Store, limit: str, status: JobStatus) -> None:
    cell = Cell("int8", status=status, error="the link\nwas cut")
    finding = one(store, cell, **{limit: 1})
    assert finding.answer is Answer.CANNOT_TELL
    assert "the link was cut" in forms.line(finding) and "\n" not in forms.line(finding)


def test_a_job_that_was_not_run_is_never_passed(store: Store) -> None:
    found = checked(store, [Cell()], Gate(max_size=1), seal=False)
    assert answers(found) == [("float32", Answer.CANNOT_TELL)]
    assert "resume the run" in forms.line(found.findings[0])


def test_the_size_of_a_job_that_failed_later_is_known(store: Store) -> None:
    cell = Cell(status=JobStatus.FAILED, error="e", size=2000)
    assert one(store, cell, max_size=1000).answer is Answer.FAILED


def test_an_emulated_device_has_no_latency_to_hold(store: Store) -> None:
    emulated = Cell(device="emu", kind=DeviceKind.EMULATED, latency=None, memory=None)
    found = checked(store, [Cell(), emulated], Gate(max_latency_ms=11), Gate(max_size=1000))
    assert [item.answer for item in found.findings] == [
        Answer.PASSED, Answer.NOT_APPLICABLE, Answer.PASSED, Answer.PASSED,
    ]  # fmt: skip
    assert found.passed and "an emulated device has no latency" in forms.line(found.findings[1])
    alone = checked(store, [emulated], Gate(max_latency_ms=11))
    assert [item.answer for item in alone.findings] == [Answer.NOT_APPLICABLE, Answer.CANNOT_TELL]
    assert not alone.passed


def test_a_gate_that_finds_no_cell_is_not_passed(store: Store) -> None:
    finding = one(store, Cell(), max_size=1, devices=("another",))
    assert finding.answer is Answer.CANNOT_TELL and "no cell" in forms.line(finding)


def test_a_value_that_was_not_measured_is_not_passed(store: Store) -> None:
    assert one(store, Cell(latency=None), max_latency_ms=1).answer is Answer.CANNOT_TELL
    assert one(store, Cell(memory=None), max_memory=1).answer is Answer.CANNOT_TELL
    assert one(store, Cell(size=None), max_size=1).answer is Answer.CANNOT_TELL


def test_a_run_without_gates_says_what_to_do(store: Store) -> None:
    with pytest.raises(UsageError, match="has no gates"):
        checked(store, [Cell()])
    with pytest.raises(StoreError, match="is not a run"):
        harness.check("nothing", store=store)


def test_gates_of_another_file(store: Store, tmp_path: Path) -> None:
    add_night(store, 1, [Cell(), Cell("int8", size=10)])
    file = tmp_path / "gates.toml"
    file.write_text('[[gates]]\nmax_size = "0.5 kB"\nrecipes = ["int8"]\n')
    assert answers(harness.check(gates=file, store=store)) == [("int8", Answer.PASSED)]
    file.write_text('[gates]\nmax_size = "0.5 kB"\nmax_latency = 3\n')
    with pytest.raises(UsageError, match=r"gates\.toml:3: unknown key 'max_latency'"):
        harness.check(gates=file, store=store)
    file.write_text("")
    with pytest.raises(UsageError, match="no gates"):
        harness.check(gates=file, store=store)


def timed(median: float, seed: int, recipe: str = "int8", **more: Any) -> Cell:
    medians = list(median * np.random.default_rng(seed).normal(1, 0.004, 5))
    right = {"correct": np.ones(10, bool), **more}
    return Cell(recipe, latency=median, medians=medians, **right)


AGAINST = Gate(no_regression_against="baseline")


def against(store: Store, before: list[Cell], after: list[Cell], gate: Gate = AGAINST) -> Checked:
    """The second night held against the first, which is the baseline."""
    store.set_baseline("baseline", add_night(store, len(store.runs()) + 1, before))
    return checked(store, after, gate)


@pytest.mark.parametrize(
    ("after", "answer", "words"),
    [
        (timed(10.0, 1), Answer.PASSED, "nothing worse of"),
        (timed(11.0, 1), Answer.FAILED, "latency_median worse ratio 1.1"),
        (timed(9.0, 1), Answer.PASSED, "nothing worse of"),
        (timed(10.0, 1, size=1001), Answer.FAILED, "size worse ratio 1.001"),
        (timed(10.0, 1, version="2.1"), Answer.CANNOT_TELL, "litert 2.0 against litert 2.1"),
        (Cell("int8", medians=[10.0]), Answer.CANNOT_TELL, "one trial says nothing"),
        (Cell("int8", status=JobStatus.FAILED, error="cut"), Answer.CANNOT_TELL, "cut"),
        (Cell("int8", status=JobStatus.UNSUPPORTED, error="no"), Answer.FAILED, "cannot run it"),
        (timed(10.0, 1, recipe="int16x8"), Answer.CANNOT_TELL, "no job in common"),
    ],
)  # fmt: skip
def test_no_regression_against_a_baseline(
    store: Store, after: Cell, answer: Answer, words: str
) -> None:
    found = against(store, [timed(10.0, 0)], [after])
    assert found.findings[0].answer is answer and words in forms.line(found.findings[0])
    assert found.passed == (answer is Answer.PASSED)


def test_what_may_differ_is_said_in_the_gate(store: Store) -> None:
    gate = Gate(no_regression_against="baseline", allow=("runtime",))
    found = against(store, [timed(10.0, 0)], [timed(11.0, 1, version="2.1")], gate)
    assert answers(found) == [("int8", Answer.FAILED)]


def test_a_cell_that_the_baseline_lacks_cannot_be_told(store: Store) -> None:
    found = against(store, [timed(10.0, 0)], [timed(10.0, 1), timed(5.0, 2, recipe="int16x8")])
    assert answers(found) == [("int8", Answer.PASSED), ("int16x8", Answer.CANNOT_TELL)]
    lost = [Cell("int8", status=JobStatus.UNSUPPORTED, error="no")]
    found = against(store, [*lost, timed(1.0, 1, "a")], [*lost, timed(1.0, 2, "a")])
    assert answers(found) == [("int8", Answer.NOT_APPLICABLE), ("a", Answer.PASSED)]


def test_a_cell_that_only_the_baseline_has_is_not_passed_over(store: Store) -> None:
    """Otherwise a job that is left out by mistake would end its own regressions."""
    before = [timed(10.0, 0), timed(5.0, 2, recipe="int16x8")]
    found = against(store, before, [timed(10.0, 1)])
    assert answers(found) == [("int8", Answer.PASSED), ("int16x8", Answer.CANNOT_TELL)]
    assert "this run does not have it" in forms.line(found.findings[1]) and not found.passed
    only = Gate(no_regression_against="baseline", recipes=("int8",))
    assert answers(against(store, before, [timed(10.0, 1)], only)) == [("int8", Answer.PASSED)]
    never = [timed(10.0, 0), Cell("int16x8", status=JobStatus.FAILED, error="cut")]
    assert answers(against(store, never, [timed(10.0, 1)])) == [("int8", Answer.PASSED)]


def test_a_baseline_that_is_not_there_cannot_be_told(store: Store, tmp_path: Path) -> None:
    (finding,) = checked(store, [timed(10.0, 0)], AGAINST).findings
    assert finding.answer is Answer.CANNOT_TELL and "'baseline' is not a run" in forms.line(finding)
    store.set_baseline("baseline", "last")
    (finding,) = harness.check(store=store).findings
    assert "is this very run" in forms.line(finding)
    first = store.find_run("last").id
    checked(store, [timed(10.0, 0)], AGAINST)
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("DELETE FROM runs WHERE id = ?", (first,))
    connection.close()
    (finding,) = harness.check(store=store).findings
    assert finding.answer is Answer.CANNOT_TELL and "no longer in" in forms.line(finding)
    assert "harness baseline set RUN --name baseline" in forms.line(finding)


def test_accuracy_is_compared_on_the_same_samples(store: Store) -> None:
    right = np.arange(1000) % 10 > 0
    worse = right & (np.arange(1000) % 50 != 7)
    found = against(
        store, [timed(10.0, 0, correct=right)], [timed(10.0, 1, correct=worse, accuracy=0.88)]
    )
    assert "top1 worse by -2.00 points" in forms.line(found.findings[0])
    cells = [Cell(correct=right), Cell("int8", correct=right)]
    finding = checked(store, cells, Gate(max_accuracy_drop=1)).findings[1]
    assert finding.found.high is not None and finding.found.high < 0.5 and not finding.straddles


def mixed(store: Store) -> Checked:
    cells = [
        Cell(model=HOSTILE, latency=10.0),
        Cell("int8", model=HOSTILE, latency=20.0),
        Cell("int16x8", model=HOSTILE, status=JobStatus.FAILED, error=HOSTILE),
        Cell("float32", device="tpu", model=HOSTILE, status=JobStatus.UNSUPPORTED, error=HOSTILE),
        Cell("float16", device="pi", model=HOSTILE, kind=DeviceKind.SIMULATED),
    ]
    return checked(store, cells, Gate(max_latency_ms=15))


def test_junit_is_what_its_readers_take(store: Store) -> None:
    """The elements and attributes of Surefire's schema, which Jenkins' takes too."""
    root = Xml.fromstring(junit.render(mixed(store)))
    assert root.tag == "testsuite"
    counts = {key: int(root.attrib[key]) for key in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": 5, "failures": 1, "errors": 1, "skipped": 1}
    assert root.attrib["name"] and float(root.attrib["time"]) == 0
    assert {case.tag for case in root} == {"testcase"}
    for case in root:
        assert {"name", "classname", "time"} == set(case.attrib)
        assert case.attrib["classname"] == "gates.max_latency_ms"
        assert len(case) <= 1
        for inner in case:
            assert inner.tag in ("failure", "error", "skipped", "system-out")
            allowed = {"failure": {"message", "type"}, "error": {"message", "type"},
                       "skipped": {"message"}}  # fmt: skip
            assert set(inner.attrib) == allowed.get(inner.tag, set())
    assert len({case.attrib["name"] for case in root}) == 5
    kinds = [case.attrib["name"].rsplit(", ", 1)[1] for case in root]
    assert kinds == ["real", "real", "real", "real", "simulated"]
    assert "a<b>&" in root[1].attrib["name"] and "\x1b" not in junit.render(mixed(store))


def test_markdown_escapes_and_puts_what_failed_first(store: Store) -> None:
    text = forms.as_markdown(mixed(store))
    assert "<b>" not in text and "\x1b" not in text
    loud, quiet = text.split("<details>")
    rows = [line for line in loud.splitlines() if line.startswith("| ")][1:]
    assert rows[0].startswith("| ❌ failed") and "cannot tell" in rows[1] and len(rows) == 2
    assert quiet.count("\n| ") == 4 and quiet.endswith("</details>")
    assert all(len(row.replace(r"\|", "").split("|")) == 9 for row in rows)


def test_the_table_fits_and_the_rows_hold_everything(store: Store) -> None:
    found = mixed(store)
    for everything in (False, True):
        text = plain_text(forms.parts(found, everything=everything), 100)
        assert max(map(len, text.splitlines())) <= 100 and "\x1b" not in text
    assert "not passed: 1 failed, 1 cannot tell, 2 passed, 1 does not apply" in text
    rows = json.loads(forms.as_json(found))
    assert rows["passed"] is False and len(rows["findings"]) == 5
    assert {row["kind"] for row in rows["findings"]} == {"real", "simulated"}
    read = list(csv.DictReader(io.StringIO(forms.as_csv(found))))
    assert [row["answer"] for row in read] == [row["answer"] for row in rows["findings"]]
