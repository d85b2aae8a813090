"""Advisories in reports: whose they are, and that none is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.config.suites import load_suite, suite_to_json
from harness.domain import (
    Advisory,
    AdvisoryKind,
    Backend,
    DeviceKind,
    Direction,
    Job,
    JobStatus,
    Measurement,
    Policy,
    Stage,
)
from harness.orchestrate.environment import known_names
from harness.reports import FORMATS, RunView, html, view_run
from harness.reports.notes import policy_line
from harness.store import Conclusion, Store

CORES = Advisory(AdvisoryKind.NOT_READY, "cores 4-7: this device has 0-1")
GOVERNOR = Advisory(AdvisoryKind.NOT_READY, "governor performance: not permitted")
FEW = Advisory(AdvisoryKind.FEW_TRIALS, "2 trials")


@contextmanager
def sealed(folder: Path, advised: Mapping[str, Sequence[Sequence[Advisory]]]) -> Iterator[RunView]:
    """A run whose jobs, by device, carry these advisories."""
    suite = load_suite("demo", known_names(), devices=list(advised))
    each = [(device, found) for device, jobs in advised.items() for found in jobs]
    jobs = [
        Job(index, "digits", f"r{index}", device, DeviceKind.REAL, Backend("cpu", 1))
        for index, (device, _) in enumerate(each)
    ]
    median = Measurement("latency_median", 1234.5, "ms", Direction.LOWER, 50, 1200.0, 1300.0, 2)
    top1 = Measurement("top1", 0.9876, "share", Direction.HIGHER, 697, 0.97, 0.99)
    with Store(f"sqlite:///{folder}/s.db") as store:
        store.create_run("r", suite_to_json(suite), {}, jobs)
        for record, (_, found) in zip(store.jobs("r"), each, strict=True):
            store.seal_job(Conclusion(
                record.id, JobStatus.OK, Stage.DONE, size_bytes=123_456_789,
                advisories=list(found), measurements=[median, top1],
            ))  # fmt: skip
        yield view_run(store, "r")


@pytest.fixture
def two_devices(tmp_path: Path) -> Iterator[RunView]:
    """Both miss something of the same kind, each for its own reason, and one job both."""
    advised = {"local": [[FEW, CORES], [FEW, CORES, GOVERNOR]], "pixel-3": [[FEW, GOVERNOR]]}
    with sealed(tmp_path, advised) as view:
        yield view


@pytest.mark.parametrize("name", ["table", "markdown"])
def test_each_job_has_the_letters_of_its_own_evidence(two_devices: RunView, name: str) -> None:
    text = FORMATS[name](two_devices, 100)
    rows = [line.rstrip(" |") for line in text.splitlines() if re.search(r"\br\d\b", line)]
    assert [row[-8:].split("  ")[-1].split("| ")[-1] for row in rows] == ["a b", "a b c", "a c"]
    for letter, advisory in zip("abc", (FEW, CORES, GOVERNOR), strict=True):
        assert re.search(rf"\W{letter}\W.*{advisory.evidence}", text)


def test_the_page_has_every_evidence_and_its_jobs(two_devices: RunView) -> None:
    page = html.render(two_devices).split('id="advisories"')[1].split("</table>")[0]
    rows = {item.evidence: next(row for row in page.split("<tr") if item.evidence in row)
            for item in (CORES, GOVERNOR)}  # fmt: skip
    assert rows[CORES.evidence].count(" on local") == 2 and "pixel-3" not in rows[CORES.evidence]
    assert rows[GOVERNOR.evidence].count(" on local") == 1 and "pixel-3" in rows[GOVERNOR.evidence]


def test_rows_name_each_advisory_once(two_devices: RunView) -> None:
    rows = json.loads(FORMATS["json"](two_devices, 100))
    assert [row["advisories"] for row in rows] == [["few_trials", "not_ready"]] * 3


def test_a_table_of_many_advisories_fits_and_says_what_to_do_once(tmp_path: Path) -> None:
    kinds = list(AdvisoryKind)[:8]
    many = [[Advisory(kind, f"{kind} of {job}: " + "why " * 30) for kind in kinds]
            for job in range(30)]  # fmt: skip
    with sealed(tmp_path, {"local": many}) as view:
        text = FORMATS["table"](view, 100)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    words = " ".join(text.split())
    for kind in kinds:
        assert words.count(Advisory(kind, "").next_step) == 1
        for job in range(30):
            assert words.count(f"{kind} of {job}: why") == 1
    rows = [line for line in lines if re.match(r"r\d", line)]
    assert len(rows) == 30 and all("123.46 MB" in row and "98.76 ±1.0" in row for row in rows)


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        (Policy(), "7 to 30 trials (until the median is known to ±1 %, at most 600 s) in fresh "
         "processes, each after 0.5 s of warm-up and until it is steady within 1 % (at most 5 s), "
         "at least 50 runs and 1 s; seed 0"),
        (Policy(trials=1, steady_within=0, warmup_seconds=2), "1 trial in fresh processes, each "
         "after 2 s of warm-up, at least 50 runs and 1 s; seed 0; LIGHTER than the default "
         "(trials=1, steady_within=0)"),
        (Policy(trials=30, warmup_seconds=9), "30 trials in fresh processes, each after 9 s of "
         "warm-up and until it is steady within 1 % (at most 9 s), at least 50 runs and 1 s; "
         "seed 0"),
        (Policy(measure=("accuracy",)), "accuracy only; seed 0"),
    ],
)  # fmt: skip
def test_the_policy_in_one_line(policy: Policy, line: str) -> None:
    assert policy_line(policy) == line
