"""Histories over constructed nights in a real store."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.decide.attribution import CauseKind
from harness.decide.history import Series
from harness.domain import DeviceKind, JobStatus, Policy
from harness.errors import UsageError
from harness.reports import history as forms
from harness.reports import history_plot
from harness.reports.texts import plain_text
from harness.store import Store
from tests.support.nights import PLATFORM, Cell, add_night

Night = Callable[[int], list[Cell]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/s.db") as opened:
        yield opened


def nights(store: Store, count: int, night: Night, **suite: Any) -> None:
    for number in range(1, count + 1):
        add_night(store, number, night(number), **suite)


def noise(seed: int = 0) -> Callable[[], float]:
    rng = np.random.default_rng(seed)
    return lambda: float(rng.normal(1, 0.005))


def of(store: Store, metric: str = "latency", **asked: Any) -> list[Series]:
    return harness.history(metric, "board", store=store, **asked)


def causes(series: Series) -> list[list[CauseKind]]:
    return [[cause.kind for cause in change.causes] for change in series.changes]


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"variant": "b" * 64}, CauseKind.MODEL, "file aaaaaaaa, then bbbbbbbb"),
        ({"version": "2.1"}, CauseKind.RUNTIME, "runtime litert 2.0, then litert 2.1"),
        ({"facts": {"agent": ["python", "9"]}}, CauseKind.UNEXPLAINED, "nothing"),
        (
            {"facts": {"platform": {**PLATFORM, "release": "6.6"}}},
            CauseKind.DEVICE,
            "release 6.1, then 6.6",
        ),
        ({"facts": {"platform": {**PLATFORM, "temperature_c": 80.0}}}, CauseKind.UNEXPLAINED, ""),
        ({}, CauseKind.UNEXPLAINED, "nothing that is recorded changed"),
    ],
)
def test_a_change_is_put_down_to_what_changed_with_it(
    store: Store, changed: dict[str, Any], kind: CauseKind, words: str
) -> None:
    draw = noise()

    def night(number: int) -> list[Cell]:
        late = number > 10
        return [Cell(latency=10 * draw() * (1.1 if late else 1), **(changed if late else {}))]

    nights(store, 16, night)
    (series,) = of(store)
    (change,) = series.changes
    assert change.at == 10 and change.confirmed and change.effect == pytest.approx(0.1, abs=0.01)
    (cause,) = change.causes
    assert cause.kind is kind and words in cause.evidence
    assert [series.segment(index) for index in (0, 9, 10, 15)] == [1, 1, 2, 2]


def test_the_policy_is_a_cause_too(store: Store) -> None:
    for number in range(1, 15):
        late = number > 7
        cell = Cell(latency=12.0 if late else 10.0)
        add_night(store, number, [cell], policy=Policy(trials=9 if late else 5))
    (change,) = of(store)[0].changes
    assert change.causes[0].kind is CauseKind.MEASURING
    assert "Policy trials 5, then 9" in change.causes[0].evidence


def canary_nights(store: Store, model: float, device: float, **more: Any) -> None:
    """From the 11th night on the model is new and slower by ``model``, the device by ``device``."""
    draw = noise()

    def night(number: int) -> list[Cell]:
        late = number > 10
        new = {"variant": "b" * 64, **more} if late else {}
        own = (1 + model) * (1 + device) if late else 1
        return [
            Cell("int8", latency=10 * own * draw(), **new),
            Cell(
                "float32", model="watch", variant="c" * 64,
                latency=5 * (1 + device if late else 1) * draw(),
            ),
        ]  # fmt: skip

    nights(store, 20, night, canary="watch")


def test_a_canary_that_stays_leaves_the_model(store: Store) -> None:
    canary_nights(store, 0.1, 0)
    own, canary = of(store)
    assert causes(own) == [[CauseKind.MODEL]] and canary.canary and not canary.changes
    assert "the canary watch/float32 did not shift" in own.changes[0].causes[0].evidence


def test_a_canary_that_shifts_too_clears_the_model(store: Store) -> None:
    canary_nights(store, 0, 0.08)
    own, canary = of(store)
    assert causes(own) == causes(canary) == [[CauseKind.DEVICE]]
    assert "watch/float32 shifted too (+8" in own.changes[0].causes[0].evidence
    assert "the canary's file is the same" in canary.changes[0].causes[0].evidence


def test_what_goes_beyond_the_canary_is_the_model(store: Store) -> None:
    canary_nights(store, 0.2, 0.08)
    own, _ = of(store)
    assert causes(own) == [[CauseKind.DEVICE, CauseKind.MODEL]]
    assert "beyond the canary" in own.changes[0].causes[1].evidence


def test_a_canary_that_stays_clears_the_device(store: Store) -> None:
    new = {"facts": {"platform": {**PLATFORM, "release": "6.6"}}}
    canary_nights(store, 0.1, 0, **new)
    assert causes(of(store, model="m")[0]) == [[CauseKind.MODEL]]


def test_without_a_canary_two_causes_cannot_be_told_apart(store: Store) -> None:
    nights(
        store, 16,
        lambda n: [Cell(latency=12.0, variant="b" * 64, version="2.1") if n > 8 else Cell()],
    )  # fmt: skip
    (series,) = of(store)
    assert causes(series) == [[CauseKind.MODEL, CauseKind.RUNTIME]]
    assert "cannot be told" in series.changes[0].causes[1].evidence


def test_sizes_are_exact(store: Store) -> None:
    nights(store, 3, lambda n: [Cell(size=1001, variant="b" * 64) if n > 2 else Cell()])
    (series,) = of(store, "size")
    (change,) = series.changes
    assert (change.at, change.p, change.confirmed) == (2, None, True)
    assert causes(series) == [[CauseKind.MODEL]]


def test_accuracy_and_memory_have_histories(store: Store) -> None:
    nights(store, 14, lambda n: [Cell(accuracy=0.8, memory=60e6) if n > 8 else Cell()])
    assert [change.at for change in of(store, "accuracy")[0].changes] == [8]
    assert [change.at for change in of(store, "memory")[0].changes] == [8]


def test_small_changes_are_left_out_unless_asked_for(store: Store) -> None:
    nights(store, 20, lambda n: [Cell(latency=10.1 if n > 10 else 10.0)])
    assert of(store)[0].changes == ()
    assert [change.at for change in of(store, least_effect=0.005)[0].changes] == [10]


def test_too_few_runs_cannot_tell(store: Store) -> None:
    nights(store, 1, lambda n: [Cell()])
    (series,) = of(store)
    assert not series.changes and "too few to tell" in forms.conclusion(series)
    nights(store, 4, lambda n: [Cell()], name="other")
    assert all("too few" in forms.conclusion(item) for item in of(store))
    for form in (*forms.FORMS.values(), lambda found: plain_text(forms.parts(found), 100)):
        assert form([series])


def test_the_newest_nights_may_not_be_enough_yet(store: Store) -> None:
    nights(store, 8, lambda n: [Cell(latency=13.0 if n > 6 else 10.0 + 0.01 * (n % 3))])
    (series,) = of(store)
    assert [change.confirmed for change in series.changes] == [False]
    table = plain_text(forms.parts([series]), 100)
    assert "cannot tell yet" in table and series.segment(7) == 1
    assert "no change shown, 1 that more runs must confirm" in table


def test_nights_without_a_number_are_counted_not_invented(store: Store) -> None:
    def night(number: int) -> list[Cell]:
        if number % 3 == 0:
            return [Cell(status=JobStatus.FAILED, error="the link was cut")]
        return [Cell(latency=None if number % 3 == 1 else 10.0)]

    nights(store, 9, night)
    (series,) = of(store)
    assert (len(series.points), series.missing) == (3, 6)
    assert "3 runs, 6 without this number" in forms.conclusion(series)


def test_suites_kinds_and_moved_jobs_are_never_mixed(store: Store) -> None:
    nights(store, 3, lambda n: [Cell()])
    nights(store, 3, lambda n: [Cell(latency=99.0)], name="other")
    nights(store, 3, lambda n: [Cell(kind=DeviceKind.SIMULATED, latency=1.0)], name="third")
    nights(store, 3, lambda n: [Cell(facts={"ran_on": "sibling"}, latency=50.0)], name="fourth")
    found = of(store)
    assert [(item.key.suite, item.key.kind) for item in found] == [
        ("nightly", "real"), ("other", "real"), ("third", "simulated"),
    ]  # fmt: skip
    assert all(len({point.value for point in item.points}) == 1 for item in found)
    (moved,) = harness.history("latency", "sibling", store=store)
    assert moved.points[0].value == 50.0
    assert len(of(store, suite="other")) == 1


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"device": "nothing"}, "devices of the newest runs: board"),
        ({"model": "unknown"}, "on board: m/float32 (cpu x4)"),
        ({"recipe": "int8"}, "on board: m/float32"),
    ],
)
def test_what_was_never_measured_is_an_error(
    store: Store, asked: dict[str, str], words: str
) -> None:
    nights(store, 2, lambda n: [Cell()])
    with pytest.raises(UsageError) as caught:
        harness.history("latency", asked.pop("device", "board"), store=store, **asked)
    assert words in (caught.value.hint or "")


def test_an_empty_store_and_an_emulated_device_say_so(store: Store) -> None:
    with pytest.raises(UsageError, match="no run"):
        of(store)
    nights(store, 2, lambda n: [Cell(kind=DeviceKind.EMULATED, latency=None, memory=None)])
    with pytest.raises(UsageError) as caught:
        of(store)
    assert "emulated: it has no latency" in (caught.value.hint or "")
    assert of(store, "accuracy")
    with pytest.raises(UsageError, match="no history of 'speed'"):
        of(store, "speed")


def test_the_forms_say_the_same(store: Store) -> None:
    hostile = "<img src=x onerror=alert(1)>|`"
    nights(
        store, 12,
        lambda n: [Cell(model=hostile, latency=12.0 if n > 6 else 10.0, spread=None)],
    )  # fmt: skip
    series = of(store)
    text = plain_text(forms.parts(series), 100)
    assert max(map(len, text.splitlines())) <= 100
    assert "< +20.0 %" in text and "unexplained" in text and "real" in text and "±?" in text
    rows = json.loads(forms.as_json(series))
    assert [row["change"] for row in rows if row["change"]] == [pytest.approx(0.2)]
    read = list(csv.DictReader(io.StringIO(forms.as_csv(series))))
    assert len(read) == 12 and read[6]["causes"] == "unexplained"
    assert "<img" not in forms.as_markdown(series)
    page = history_plot.render(series)
    assert "<img src=x" not in page and page.count("data-chart=") == 1
