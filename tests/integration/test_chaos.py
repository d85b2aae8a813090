"""Every fault at every stage, and pairs of them: nothing is lost and nobody else is harmed."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

import harness
from harness.cli.shared.progress import describe
from harness.domain import JobStatus
from harness.domain.fault import PLACES, Fault, FaultKind
from harness.errors import AgentTimeoutError
from harness.orchestrate.events import Event, FaultUnstruck, TrialEnded
from harness.orchestrate.stop import Stop
from harness.store import JobRecord, Store
from tests.support import chaos

#: What the everyday suite measures, and all that a device may be asked for.
FEW = ("connect", "push", "start", "load", "accuracy", "latency", "operators")
ALL = (*FEW, "scenarios", "sustained", "energy")

EVERYDAY = 'measure = ["latency", "accuracy", "operators"]\noperator_runs = 3\n'
WHOLE = """measure = ["latency", "accuracy", "operators", "scenarios", "sustained", "energy"]
operator_runs = 3
scenarios = ["single_stream(min_seconds=0.05, min_queries=5)"]
sustained_minutes = 0.01
idle_seconds = 1
energy_seconds = 1
"""

#: Passes of a job: without one it still has its other numbers.
PASSES = ("operators", "scenarios", "sustained", "energy")


@pytest.fixture
def quick_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hang that is over at once; one test waits as long as the Policy says."""

    def silence(timeout: float) -> bytes:
        raise AgentTimeoutError(f"the agent said nothing for {timeout:g} s")

    monkeypatch.setattr("harness.transports.faulty.process._silence", silence)


def run(
    folder: Path, faults: Mapping[str, Sequence[str]], policy: str, within: float
) -> dict[str, list[JobRecord]]:
    """Run, check the store, and hold the sound device against a run of its own."""
    devices = {"sound": (), **faults}
    suite = chaos.write_chaos(folder / "chaos.toml", devices, policy)
    alone = chaos.write_chaos(folder / "alone.toml", {"sound": ()}, policy)
    path, other = folder / "chaos.db", folder / "alone.db"
    begin = time.monotonic()
    result = harness.run(suite, store=f"sqlite:///{path}")
    assert time.monotonic() - begin < within
    reference = harness.run(alone, store=f"sqlite:///{other}")
    records = chaos.check_store(path, result.id, jobs=len(devices) * len(chaos.RECIPES))
    found: dict[str, list[JobRecord]] = {name: [] for name in devices}
    for record in records:
        found[record.job.device].append(record)
    with Store(f"sqlite:///{path}") as store, Store(f"sqlite:///{other}") as sound:
        expected = sound.jobs(reference.id)
        assert chaos.samples_of(store, found["sound"]) == chaos.samples_of(sound, expected)
        # No sample is of another variant than its trial: the two are far apart.
        near = chaos.medians(sound, expected)
        fast, slow = max(near["int8"]), min(near["float32"])
        assert fast * 2 < slow
        for name, texts in faults.items():
            if not {Fault.parse(text).kind for text in texts} & chaos.RETIMED:
                seen = chaos.medians(store, found[name])
                assert all(value < fast * 1.3 for value in seen["int8"]), name
                assert all(value > slow / 1.3 for value in seen["float32"]), name
    again = harness.run(resume=result.id, store=f"sqlite:///{path}")
    assert again.outcome is not None and not again.outcome.interrupted
    assert chaos.check_store(path, result.id, len(records)) == records  # nothing was done anew
    return found


def judge(fault: Fault, records: Sequence[JobRecord]) -> None:
    """The right stage and cause in the records of a device with one fault."""
    kind, always = fault.kind, not fault.times
    failed = [record for record in records if record.status is not JobStatus.OK]
    what = f"{fault}: {[(r.status.value, r.stage.value, r.error) for r in records]}"
    shown = {advisory.kind.value for record in records for advisory in record.advisories}
    if kind is FaultKind.FALLBACK and not always:
        # What really ran on the accelerator needs integers.
        assert all(record.status is not JobStatus.FAILED for record in records), what
        return
    if kind in chaos.HARMLESS:
        assert not failed, what
        expected = {
            FaultKind.BATTERY: "low_battery",
            FaultKind.OUTPUTS: "outputs_differ",
            FaultKind.FALLBACK: "partial_delegation",
        }.get(kind)
        assert expected is None or expected in shown, what
        return
    missing = [why for record in records if (why := without(record, fault.place))]
    if fault.place in PASSES and kind not in (
        FaultKind.DISCONNECT, FaultKind.REBOOT, FaultKind.STOLEN
    ):  # fmt: skip
        # The job stands without it, and says why.
        count = len(records) if always else int(kind in chaos.STABLE)
        assert not failed and len(missing) == count, what
        assert all(chaos.CAUSES[kind] in why for why in missing), what
        return
    whole = fault.place in ("connect", "push") or always
    count = len(records) if whole else 1
    if kind in chaos.TRANSIENT and not always:
        count = 0
    assert len(failed) == count, what
    for record in failed:
        assert record.status is JobStatus.FAILED and record.stage.value == fault.place, what
        assert chaos.CAUSES[kind] in str(record.error), what
    if not always and kind in chaos.TRANSIENT and fault.place not in ("connect", "push"):
        repeated = [record.facts["repeated"] for record in records]
        assert sum(repeated) == (2 if kind is FaultKind.REBOOT else 1), what


def without(record: JobRecord, name: str) -> str:
    """Why a job has no numbers of this pass, or nothing."""
    failed = (record.facts.get("passes_failed") or {}).get(name)
    profile = record.facts.get("operators") or {} if name == "operators" else {}
    return str(failed or profile.get("unsupported") or "")


def planned(
    chosen: Sequence[tuple[FaultKind, str]], often: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    texts = [f"{kind.value} at {place} {word}" for kind, place in chosen for word in often]
    return {f"d{number:03}": (text,) for number, text in enumerate(texts)}


def test_a_hang_is_waited_for_as_long_as_the_policy_says(
    tmp_path: Path, digits: dict[str, Path]
) -> None:
    suite = chaos.write_chaos(tmp_path / "s.toml", {"d": ["hang at latency"]})
    text = suite.read_text().replace("silence_timeout = 60.0", "silence_timeout = 1.0")
    suite.write_text(text.replace("retries = 2", "retries = 0"))
    begin = time.monotonic()
    result = harness.run(suite, recipes=["int8"], store=f"sqlite:///{tmp_path}/h.db")
    (row,) = result.rows()
    assert time.monotonic() - begin > 1.0
    assert (row["status"], row["stage"]) == ("failed", "latency")
    assert "said nothing for 1 s" in row["error"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("quick_hangs")
@pytest.mark.parametrize("often", ["once", "always"])
def test_every_fault_at_every_stage(tmp_path: Path, digits: dict[str, Path], often: str) -> None:
    faults = planned(chaos.cases(ALL), [often])
    assert len(faults) == 91
    found = run(tmp_path, faults, WHOLE, within=600)
    for name, (text,) in faults.items():
        judge(Fault.parse(text), found[name])


def pairs() -> list[tuple[str, str]]:
    """Every two kinds, each at one of its places."""
    rng = random.Random(5)
    return [
        (f"{one.value} at {rng.choice(PLACES[one])}", f"{two.value} at {rng.choice(PLACES[two])}")
        for one, two in itertools.combinations_with_replacement(FaultKind, 2)
    ]


def judge_pair(texts: Sequence[str], records: Sequence[JobRecord]) -> None:
    """A job that fails does so by one of the two, where that strikes."""
    faults = [Fault.parse(text) for text in texts]
    kinds = {fault.kind for fault in faults}
    for record in records:
        what = f"{texts}: {record.status.value} {record.stage.value} {record.error}"
        if record.status is JobStatus.OK:
            continue
        if record.status is JobStatus.UNSUPPORTED:
            assert FaultKind.FALLBACK in kinds, what  # its accelerator needs integers
            continue
        # After a reboot the device is away for a moment, and a connection is refused then.
        connects = {"connect"} if kinds & {FaultKind.REBOOT, FaultKind.REFUSED} else set()
        assert record.stage.value in {fault.place for fault in faults} | connects, what
        causes = [chaos.CAUSES[kind] for kind in kinds if kind in chaos.CAUSES]
        assert any(cause in str(record.error) for cause in [*causes, "is starting"]), what
    if kinds <= {*chaos.TRANSIENT, *chaos.HARMLESS} and FaultKind.REBOOT not in kinds:
        assert not any(record.status is JobStatus.FAILED for record in records), (
            texts
        )  # three tries


@pytest.mark.usefixtures("quick_hangs")
def test_some_faults_and_some_pairs(tmp_path: Path, digits: dict[str, Path]) -> None:
    rng = random.Random(11)
    faults = planned(rng.sample(chaos.cases(FEW), 8), ["once"])
    couples = {f"p{number:03}": pair for number, pair in enumerate(rng.sample(pairs(), 4))}
    found = run(tmp_path, {**faults, **couples}, EVERYDAY, within=150)
    for name, (text,) in faults.items():
        judge(Fault.parse(text), found[name])
    for name, texts in couples.items():
        judge_pair(texts, found[name])


def test_a_device_that_starts_twice_in_a_push_is_waited_for(
    tmp_path: Path, digits: dict[str, Path]
) -> None:
    """A try whose connection was refused is followed by a connection, not by a push without."""
    suite = chaos.write_chaos(tmp_path / "s.toml", {"d": ["reboot connects=2 at push"]})
    suite.write_text(suite.read_text().replace("retries = 2", "retries = 3"))
    result = harness.run(suite, store=f"sqlite:///{tmp_path}/r.db", trials=1)
    assert [row["status"] for row in result.rows()] == ["ok", "ok"]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("quick_hangs")
def test_all_pairs_of_faults(tmp_path: Path, digits: dict[str, Path]) -> None:
    faults = {f"p{number:03}": pair for number, pair in enumerate(pairs())}
    assert len(faults) == 231
    found = run(tmp_path, faults, EVERYDAY, within=600)
    for name, texts in faults.items():
        judge_pair(texts, found[name])


def test_a_fault_that_never_struck_is_told(tmp_path: Path) -> None:
    """A rehearsal of trouble that did not come must not look like one that was passed."""
    never = {
        "calm": [
            "garbage output at sample 1 of scenarios 1",
            "full disk once",
            "crash at start 99",
        ],
        "falls": ["cpu fallback"],
        "gone": ["refused connection always", "crash"],
    }
    suite = chaos.write_chaos(tmp_path / "chaos.toml", never, EVERYDAY)
    text = suite.read_text()
    assert 'default_backend = "edgetpu"' in text
    suite.write_text(
        text.replace('accelerators = ["edgetpu"]', 'accelerators = ["cpu", "edgetpu"]').replace(
            'default_backend = "edgetpu"', 'default_backend = "cpu x1"'
        )
    )
    told: list[Event] = []
    url = f"sqlite:///{tmp_path}/chaos.db"
    result = harness.run(suite, store=url, tell=told.append)
    lines = [describe(event) for event in told if isinstance(event, FaultUnstruck)]
    assert lines == [
        "calm: the fault 'garbage output at sample 1 of scenarios 1' never struck",
        "calm: the fault 'crash at start 99' never struck",
        "falls: the fault 'cpu fallback' never struck",
        "gone: the fault 'crash' never struck",
    ]
    told.clear()
    harness.run(resume=result.id, store=url, tell=told.append)  # nothing was left to strike
    assert not [event for event in told if isinstance(event, FaultUnstruck)]
    stop = Stop()

    def until_a_trial(event: Event) -> None:
        told.append(event)
        if isinstance(event, TrialEnded):
            stop.request()

    result = harness.run(suite, store=url, tell=until_a_trial, stop=stop)
    assert result.outcome is not None and result.outcome.interrupted
    assert not [event for event in told if isinstance(event, FaultUnstruck)]  # they still may
    harness.run(resume=result.id, store=url, tell=told.append)
    again = [describe(event) for event in told if isinstance(event, FaultUnstruck)]
    assert again == [f"{line} since the run was resumed" for line in lines]
