"""Two in turns: the rule that ends it, its error rate, and what is fed and said."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.datasets import SOURCES, load_dataset
from harness.decide.ab import (
    Answer,
    Contest,
    Measured,
    Reading,
    Standing,
    reading,
    standing,
    standing_of,
)
from harness.domain import (
    Backend,
    DeviceKind,
    Job,
    JobStatus,
    Stage,
    TrialStatus,
)
from harness.errors import ModelError, UsageError
from harness.orchestrate import made_samples as making
from harness.orchestrate.made_samples import made_samples
from harness.orchestrate.pair import Bounds
from harness.reports import ab_rows, ab_text
from harness.simulation.elements import Quantization
from harness.simulation.noise import SHAPES
from harness.store import JobRecord, TrialRecord
from tests.support.graphs import tensor
from tests.support.models import adding_model

Floats = NDArray[np.float64]
Noise = Callable[[np.random.Generator, int], Floats]

ROUNDS = 100


def ended(a: Floats, b: Floats) -> Standing:
    """Where a comparison ends that is looked at after every round."""
    for rounds in range(1, len(a) + 1):
        found = standing(a[:rounds], b[:rounds])
        if found.clear:
            return found
    return found


def experiments(noise: Noise, effect: float, count: int, seed: int = 7) -> list[Standing]:
    rng = np.random.default_rng(seed)
    return [ended(noise(rng, ROUNDS), effect * noise(rng, ROUNDS)) for _ in range(count)]


def share(found: list[Standing], *answers: Answer) -> float:
    return sum(item.answer in answers for item in found) / len(found)


def lognormal(spread: float) -> Noise:
    return lambda rng, rounds: np.exp(rng.normal(0, spread, rounds))


def shape(name: str) -> Noise:
    return lambda rng, rounds: np.median(SHAPES[name].draw(rng, rounds, 15), axis=1)


def two_levels(rng: np.random.Generator, rounds: int) -> Floats:
    """Three processes in ten are slower by 14 %: a bad memory layout."""
    slow = np.where(rng.random(rounds) < 0.3, 0.14, 0)
    return np.asarray(np.exp(slow + rng.normal(0, 0.005, rounds)))


def heavy(rng: np.random.Generator, rounds: int) -> Floats:
    """Student's t of 2: no variance at all."""
    return np.asarray(np.exp(0.01 * rng.standard_t(2, rounds)))


def test_equal_ones_seldom_differ_however_often_one_looks() -> None:
    found = experiments(lognormal(0.02), 1.0, 600)
    assert share(found, Answer.FASTER, Answer.SLOWER) <= 0.05
    assert share(found, Answer.SAME) >= 0.95


@pytest.mark.parametrize(
    ("name", "noise"),
    [("two levels", two_levels), ("heavy tails", heavy)]
    + [(name, shape(name)) for name in ("between trials", "odd trials", "two modes", "drift")],
)
def test_the_error_rate_holds_for_other_noise(name: str, noise: Noise) -> None:
    found = experiments(noise, 1.0, 200)
    assert share(found, Answer.FASTER, Answer.SLOWER) <= 0.05, name


@pytest.mark.parametrize(
    ("noise", "effect", "most"),
    [
        (lognormal(0.02), 1.05, 8),
        (lognormal(0.02), 1 / 1.05, 8),
        (lognormal(0.02), 1.12, 5),
        (lognormal(0.01), 1.05, 5),
        (lognormal(0.02), 1.03, 14),
        (heavy, 1.05, 8),
        (shape("odd trials"), 1.05, 7),
    ],
)
def test_true_differences_are_found_within_a_few_rounds(
    noise: Noise, effect: float, most: int
) -> None:
    found = experiments(noise, effect, 150)
    rounds = float(np.median([item.rounds for item in found]))
    print(f"{effect:.3f}: {rounds:g} rounds in the median")
    right = Answer.SLOWER if effect > 1 else Answer.FASTER
    assert share(found, right) >= 0.97 and rounds <= most
    inside = np.mean([item.low <= effect <= item.high for item in found])
    assert inside >= 0.95


def test_what_matters_is_not_called_equal() -> None:
    found = experiments(lognormal(0.02), 1.03, 200)
    assert share(found, Answer.SAME) <= 0.05


def test_drift_from_round_to_round_is_drift_of_both() -> None:
    rng = np.random.default_rng(3)
    drift = np.linspace(1, 1.5, 12)
    a, b = (drift * np.exp(rng.normal(0, 0.003, 12)) for _ in range(2))
    assert ended(a, b).answer is Answer.SAME
    assert ended(a, 1.05 * b).answer is Answer.SLOWER


def test_the_rule_at_its_edges() -> None:
    ones = np.ones(5)
    assert standing(ones[:0], ones[:0]).reason == "no round has ended"
    assert standing(ones[:1], ones[:1]).answer is Answer.OPEN
    # Without any noise the interval is a point: within the band, or beyond it.
    assert standing(ones, ones * 1.019).answer is Answer.SAME
    assert standing(ones, ones * 1.021).answer is Answer.SLOWER
    assert standing(ones, ones / 1.021).answer is Answer.FASTER
    assert standing(ones, ones * 1.05, min_effect=0.1).answer is Answer.SAME
    assert standing(ones, ones * 1.05, min_rounds=6).answer is Answer.OPEN
    # A difference below what matters: known to be there, and not yet to be small enough.
    a = np.array([1, 1.01] * 4)
    found = standing(a, a * np.array([1.015, 1.017, 1.013, 1.016, 1.021, 1.01, 1.014, 1.016]))
    assert found.answer is Answer.SAME and found.low > 1
    with pytest.raises(ValueError, match="a trial of A and one of B"):
        standing(ones, ones[:3])
    assert "too coarse" in standing(ones, ones * 0).reason


def readings(medians: list[float], step: float = 0.0, *, coarse: bool = False) -> list[Reading]:
    return [Reading(median, step, coarse, 1.0) for median in medians]


def test_a_coarse_clock_gives_no_answer() -> None:
    a, b = readings([1.0] * 6, 0.1), readings([1.1] * 6, 0.1)
    found = standing_of(a, b, DeviceKind.REAL)
    # Both readings may be off by half a step: they may as well be equal.
    assert found.answer is Answer.OPEN and found.low < 1.01 < 1.19 < found.high
    fine = standing_of(readings([1.0] * 6), readings([1.1] * 6), DeviceKind.REAL)
    assert fine.answer is Answer.SLOWER
    stuck = standing_of(readings([1.0] * 6, coarse=True), readings([1.1] * 6), DeviceKind.REAL)
    assert stuck.answer is Answer.OPEN and "too coarse" in stuck.reason
    # What is modelled may be without noise.
    a = readings([1.0] * 6, coarse=True)
    assert standing_of(a, readings([1.1] * 6), DeviceKind.SIMULATED).answer is Answer.SLOWER
    # Only rounds that both have count.
    assert standing_of(readings([1.0] * 6), readings([1.1] * 2), DeviceKind.REAL).rounds == 2


def trial(values: list[int], **facts: object) -> TrialRecord:
    at = np.arange(len(values))
    return TrialRecord(
        1, 1, 0, "latency", TrialStatus.OK, "", None, {"clock": {"resolution_ns": 10}}, facts,
        {"measure": (at, np.array(values))} if values else {},
    )  # fmt: skip


def test_a_trial_is_read_from_its_samples_or_its_summary() -> None:
    found = reading(trial([1_000_000, 1_000_400, 1_001_000], trial_seconds=2.5))
    assert found == Reading(1.0004, pytest.approx(0.0004), False, 2.5)  # type: ignore[arg-type]
    assert reading(trial([5, 5, 5])) == Reading(pytest.approx(5e-6), pytest.approx(1e-5), True, 0.0)  # type: ignore[arg-type]
    summed = reading(trial([], summary={"median": 1500}, trial_seconds=math.inf))
    assert summed is not None and (summed.median, summed.seconds, summed.coarse) == (1.5, 0, False)
    assert reading(trial([])) is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"max_rounds": 0}, "1 to 1000 rounds, not 0"),
        ({"max_rounds": 1001}, "1 to 1000"),
        ({"min_rounds": 0}, "1 or more"),
        ({"max_seconds": 0}, "above 0"),
        ({"min_effect": 0}, "not 0 %"),
        ({"min_effect": 1}, "below 100 %"),
    ],
)
def test_bounds_that_cannot_be(given: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Bounds(**given)  # type: ignore[arg-type]


# -- samples that are made up ------------------------------------------------------------------


def test_made_samples_fit_the_file_and_are_kept(cache: Path, tmp_path: Path) -> None:
    path = tmp_path / "adds.tflite"
    path.write_bytes(adding_model((1, 4, 4, 3)))
    made = made_samples(path)
    loaded = load_dataset(made, SOURCES)
    assert loaded.samples.shape == (16, 4, 4, 3) and loaded.samples.dtype == np.float32
    assert abs(loaded.samples).max() <= 1 and len(np.unique(loaded.samples)) > 700
    assert made.path is not None
    before = made.path.stat().st_mtime_ns
    other = tmp_path / "other.tflite"
    other.write_bytes(adding_model((1, 4, 4, 3), weights=b"another file, the same input"))
    assert made_samples(other) == made and made.path.stat().st_mtime_ns == before
    other.write_bytes(adding_model((1, 4, 4, 1)))
    assert made_samples(other).name != made.name
    (tmp_path / "broken.tflite").write_bytes(path.read_bytes()[:200])
    with pytest.raises(ModelError, match="damaged"):
        made_samples(tmp_path / "broken.tflite")


def test_made_samples_suit_every_type_of_input() -> None:
    rng = np.random.default_rng(1)
    for dtype in ("int8", "uint8", "int16"):
        scale = float(rng.uniform(0.001, 2))
        quantized = replace(tensor(0, (1, 50), dtype), quantization=Quantization((scale,), (3,), 0))
        values = making._values(Path("m"), quantized, 1) / scale + 3
        limits = np.iinfo(dtype)
        assert limits.min <= values.min() < limits.min / 2 + limits.max / 4
        assert limits.max / 2 < values.max() <= limits.max
    for dtype in ("int32", "int64", "bool"):
        plain = replace(tensor(0, (1, 50), dtype), quantization=None)
        assert set(np.unique(making._values(Path("m"), plain, 1))) == {0, 1}
    # An image of 4000 x 4000 is not made sixteen times.
    assert making._values(Path("m"), tensor(0, (1, 4000, 4000), "float32"), 1).shape[0] == 1
    assert making._values(Path("m"), tensor(0, (1,), "float32"), 1).shape == (16,)
    with pytest.raises(ModelError, match="larger than can be made up"):
        making._values(Path("m"), tensor(0, (1, 1 << 20, 1 << 20), "float32"), 1)
    with pytest.raises(ModelError, match="of the type string"):
        making._values(Path("m"), tensor(0, (1, 4), "string"), 1)


# -- what is said ------------------------------------------------------------------------------


def contest(found: Standing, **more: object) -> Contest:
    def side(index: int, medians: tuple[float, ...]) -> Measured:
        job = Job(index, "=m|a", "as_is", "board", DeviceKind.REAL, Backend("cpu", 1))
        record = JobRecord(
            index, "run-1", job, JobStatus.OK, Stage.DONE, None, "aa" * 32, 2_000_000, {},
            "litert", "2.3", {"agent": ["native", "1"]}, "now",
        )  # fmt: skip
        return Measured(record, medians)

    a, b = side(0, (1.0, 1.1, 0.9)), side(1, (0.8,))
    given = {"min_effect": 0.02, "seconds": 41.2, "ended": "answer", **more}
    return Contest("run-1", a, b, found, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "more", "said"),
    [
        (Standing(Answer.FASTER, 6, 0.877, 0.863, 0.891), {},
         "B is faster by 12.3 % (10.9 to 13.7), after 6 rounds, 0:41"),
        (Standing(Answer.SLOWER, 5, 1.5, 1.4, 1.6), {"seconds": 3725},
         "B is slower by 50.0 % (40.0 to 60.0), after 5 rounds, 1:02:05"),
        (Standing(Answer.SAME, 9, 1.002, 0.99, 1.015), {},
         "no difference that matters: B/A is 1.0020 (0.9900 to 1.0150), within ±2 %, after 9 "
         "rounds, 0:41"),
        (Standing(Answer.OPEN, 100, 1.01, 0.98, 1.04, "why"), {"ended": "max_rounds"},
         "cannot tell yet: B/A is 1.0100 (0.9800 to 1.0400), why, after 100 rounds, 0:41; that "
         "were all rounds (--max-rounds)"),
        (Standing(Answer.OPEN, 1, 1.01, 0, math.inf, "too few"), {"ended": "interrupted"},
         "cannot tell yet: too few, after 1 round, 0:41; interrupted"),
    ],
)  # fmt: skip
def test_the_answer_is_one_sentence(found: Standing, more: dict[str, object], said: str) -> None:
    assert ab_text.sentence(contest(found, **more)) == said


def test_every_format_has_both_sides() -> None:
    found = contest(Standing(Answer.OPEN, 1, 0.8, 0, math.inf, "too few"), ended="max_minutes")
    table = ab_text.render(found, 80)
    assert "=m|a/as_is on" in table and "2.00 MB" in table and "litert 2.3 (native)" in table
    assert "real: measured on the device" in table and "accuracy is not measured" in table
    assert max(map(len, table.splitlines())) <= 80
    rows = list(csv.DictReader(io.StringIO(ab_rows.as_csv(found, 80))))
    assert [row["side"] for row in rows] == ["a", "b"] and tuple(rows[0]) == ab_rows.COLUMNS
    assert rows[0]["model"] == "'=m|a" and rows[0]["ratio_low"] == rows[1]["high_ms"] == ""
    told = json.loads(ab_rows.as_json(found, 80))
    assert told["answer"] == "cannot tell yet" and told["sides"]["b"]["median_ms"] == 0.8
    assert told["sides"]["b"]["low_ms"] is None and told["ended"] == "max_minutes"
    assert r"=m\|a/as\_is" in ab_rows.as_markdown(found, 80)
    same = contest(Standing(Answer.SAME, 5, 1, 1, 1), same=True, failure="A: it | broke")
    assert "the same file on the same backend" in ab_text.render(same, 80)
    assert "failed: A: it" in ab_rows.as_markdown(same, 80)


def test_exit_codes() -> None:
    found = Standing(Answer.OPEN, 0)
    for name, code in (("answer", 0), ("max_rounds", 0), ("max_minutes", 0), ("failed", 3),
                       ("interrupted", 130)):  # fmt: skip
        assert contest(found, ended=name).exit_code == code
