"""Runs that are killed, stopped, or left without room: nothing is lost, nothing done twice."""

from __future__ import annotations

import fcntl
import os
import random
import signal
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import harness
from harness.domain import JobStatus, TrialStatus
from harness.domain.fault import PLACES, FaultKind
from harness.errors import AgentTimeoutError, StoreFullError
from harness.orchestrate.events import Event
from harness.orchestrate.stop import Stop
from harness.store import JobRecord, Store
from harness.transports.faulty.lease import LeaseProcess
from tests.support import chaos, needed
from tests.support.killable import Killable

#: Devices that are in trouble whenever a run begins or goes on.
DEVICES = {"sound": (), "crashes": ("crash at load of trial 2",),
           "cut": ("disconnect at sample 3 of trial 1", "stolen at accuracy")}  # fmt: skip
JOBS = len(DEVICES) * len(chaos.RECIPES)


def good(store: Store, run: str) -> dict[tuple[int, str, int], list[Any]]:
    """Every trial that has ended well, by job, purpose and index, with its samples."""
    return {
        (record.job.index, trial.purpose, trial.index): [
            trial.id,
            sorted((name, at.tolist(), ns.tolist()) for name, (at, ns) in trial.phases.items()),
        ]
        for record in store.jobs(run)
        for trial in store.trials(record.id, with_samples=True)
        if trial.status is TrialStatus.OK
    }


def sealed(store: Store, run: str) -> dict[int, JobRecord]:
    return {item.job.index: item for item in store.jobs(run) if item.sealed_at}


def numbers(records: list[JobRecord]) -> list[Any]:
    return [(item.status, {k: (m.value, m.low, m.high) for k, m in item.measurements.items()})
            for item in records]  # fmt: skip


def samples(found: dict[tuple[int, str, int], list[Any]]) -> dict[tuple[int, str, int], Any]:
    return {key: value for key, (_, value) in found.items()}


def kill_over_and_over(folder: Path, kills: int, seed: int) -> int:
    """Kill runs at random moments and go on with them; returns how many runs that took."""
    suite = chaos.write_chaos(folder / "s.toml", DEVICES)
    url, reference_url = f"sqlite:///{folder}/killed.db", f"sqlite:///{folder}/reference.db"
    rng = random.Random(seed)
    runner = Killable(folder)
    try:
        began = time.monotonic()
        assert runner.run(suite=str(suite), store=reference_url) == 0
        whole = time.monotonic() - began
        with Store(reference_url) as store:
            (reference,) = store.runs()
            expected = samples(good(store, reference.id)), numbers(store.jobs(reference.id))
        killed, done = 0, set[str]()
        current: str | None = None
        trials: dict[tuple[int, str, int], list[Any]] = {}
        records: dict[int, JobRecord] = {}
        while True:
            arguments = {"resume": current} if current else {"suite": str(suite)}
            after = rng.uniform(0, whole) if killed < kills else None
            code = runner.run(store=url, kill_after=after, **arguments)
            assert code in (0, -signal.SIGKILL)
            killed += code != 0
            with Store(url) as store:
                left = {run.id for run in store.runs()} - done
                assert len(left) <= 1, "a run that nobody asked for"
                if current is None:
                    current = next(iter(left), None)
                    trials, records = {}, {}
                if current is None:
                    continue  # killed before there was a run
                now = good(store, current)
                assert {k: now.get(k) for k in trials} == trials  # lost nothing, did nothing twice
                assert {k: sealed(store, current)[k] for k in records} == records
                trials, records = now, sealed(store, current)
                if code != 0:
                    continue
                assert (samples(now), numbers(store.jobs(current))) == expected
            chaos.check_store(folder / "killed.db", current, JOBS)
            done.add(current)
            current = None
            if killed >= kills:
                return len(done)
    finally:
        runner.close()


@pytest.mark.slow
def test_kill_9_at_some_moments(tmp_path: Path, digits: dict[str, Path]) -> None:
    assert kill_over_and_over(tmp_path, 4, 1) >= 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kill_9_at_many_moments(tmp_path: Path, digits: dict[str, Path]) -> None:
    """``HARNESS_KILLS=200`` takes some ten minutes, more than a gate can wait for."""
    kills = int(os.environ.get("HARNESS_KILLS", "6"))
    assert kill_over_and_over(tmp_path, kills, 2) >= kills // 20


# -- no room -------------------------------------------------------------------------------


@contextmanager
def room(store: Store, pages: int) -> Iterator[None]:
    """SQLite's own bound in place of a disk's: so many pages more than there are now."""

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        (count,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {max(1, most or count)}")

    with store._engine.connect() as connection:
        most = int(connection.exec_driver_sql("PRAGMA page_count").scalar_one()) + pages
    sa.event.listen(store._engine, "connect", limit)
    store._engine.dispose()
    try:
        yield
    finally:
        sa.event.remove(store._engine, "connect", limit)
        store._engine.dispose()


@pytest.mark.parametrize("pages", [0, 1])
def test_a_store_without_room_is_gone_on_with(
    tmp_path: Path, digits: dict[str, Path], pages: int
) -> None:
    path = tmp_path / "full.db"
    suite = chaos.write_chaos(tmp_path / "s.toml", {"cut": DEVICES["cut"]})
    with Store(f"sqlite:///{path}") as store:
        with room(store, pages), pytest.raises(StoreFullError, match="no room left for results"):
            harness.run(suite, store=store)
        before = {run.id: good(store, run.id) for run in store.runs()}
        if not before:
            return  # not even the run itself found room
        (run,) = before
        result = harness.run(resume=run, store=store)
        assert [row["status"] for row in result.rows()] == ["ok", "ok"]
        now = good(store, run)
        assert {key: now.get(key) for key in before[run]} == before[run]
    chaos.check_store(path, run, 2)


def test_a_store_on_a_full_disk(tmp_path: Path, digits: dict[str, Path]) -> None:
    tiny = os.environ.get("HARNESS_TINY_DISK")
    if not tiny or not os.access(tiny, os.W_OK):
        needed("HARNESS_TINY_DISK does not name a small disk that can be written")
    with tempfile.TemporaryDirectory(dir=tiny) as name:
        folder, path = Path(name), Path(name) / "chaos.db"
        suite = chaos.write_chaos(tmp_path / "s.toml", DEVICES)
        Store(f"sqlite:///{path}").close()
        free = os.statvfs(tiny).f_bavail * os.statvfs(tiny).f_frsize
        (folder / "ballast").write_bytes(bytes(max(0, free - 150_000)))
        with pytest.raises(StoreFullError):
            harness.run(suite, store=f"sqlite:///{path}")
        (folder / "ballast").unlink()
        with Store(f"sqlite:///{path}") as store:
            (run,) = store.runs()
            before = good(store, run.id)
            harness.run(resume=run.id, store=store)
            now = good(store, run.id)
            assert {key: now.get(key) for key in before} == before
        chaos.check_store(path, run.id, JOBS)


# -- any plan, any faults, any interruption -------------------------------------------------


class Ended(BaseException):
    """The end of the process, as far as a run can tell within one."""


#: What a device is given: any kind at any of its places, or random ones.
FAULTS = st.sampled_from(
    [f"{kind.value} at {place}" for kind in FaultKind for place in PLACES[kind]
     if kind is not FaultKind.FALLBACK and place not in ("scenarios", "sustained", "energy")]
)  # fmt: skip
OFTEN = st.sampled_from(["", "once", "2 times", "always"])
RANDOM = st.builds(
    lambda rate, seed: f"random rate={rate} seed={seed}",
    st.sampled_from([0.1, 0.5, 1.0]), st.integers(0, 99),
)  # fmt: skip
TROUBLE = st.lists(st.builds("{} {}".format, FAULTS, OFTEN) | RANDOM, max_size=2)
PLANS = st.lists(TROUBLE, min_size=1, max_size=3)
#: Each of them after so many events: asked to stop, or ended at once.
INTERRUPTIONS = st.lists(
    st.tuples(st.sampled_from(["stop", "end"]), st.integers(1, 25)), max_size=3
)


def interrupted_anyhow(plan: list[list[str]], interruptions: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        leases: list[LeaseProcess] = []

        class Kept(LeaseProcess):
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments)
                leases.append(self)

        def silence(timeout: float) -> bytes:
            raise AgentTimeoutError(f"the agent said nothing for {timeout:g} s")

        patch.setattr("harness.transports.faulty.link.LeaseProcess", Kept)
        patch.setattr("harness.transports.faulty.process._silence", silence)
        devices = {f"d{index}": tuple(faults) for index, faults in enumerate(plan)}
        suite = chaos.write_chaos(
            folder / "s.toml", devices,
            'measure = ["latency", "accuracy", "operators"]\noperator_runs = 2\n',
        )  # fmt: skip
        with Store(f"sqlite:///{folder}/any.db") as store:
            run, before, records = "", {}, {}
            for how, after in [*interruptions, ("", 0)]:
                stop, count = Stop(), 0

                def tell(_event: Event, how: str = how, after: int = after) -> None:
                    nonlocal count
                    count += 1
                    if count == after and how == "stop":
                        stop.request()  # noqa: B023  of this turn
                    elif count == after:
                        raise Ended

                arguments: dict[str, Any] = {"resume": run} if run else {"suite": suite}
                with suppress(Ended):
                    harness.run(**arguments, store=store, tell=tell, stop=stop)
                run = store.runs()[0].id
                assert len(store.runs()) == 1
                now = good(store, run)
                assert {key: now.get(key) for key in before} == before
                assert {key: sealed(store, run)[key] for key in records} == records
                before, records = now, sealed(store, run)
                released(leases)
            near = chaos.medians(store, store.jobs(run))
            altered = any(
                kind in fault for faults in plan for fault in faults
                for kind in ("clock jump", "throttling")
            )  # fmt: skip
            if not altered and near["int8"] and near["float32"]:
                assert max(near["int8"]) * 2 < min(near["float32"])
            for record in store.jobs(run):
                assert record.status in (JobStatus.OK, JobStatus.FAILED)
        chaos.check_store(folder / "any.db", run, len(plan) * len(chaos.RECIPES))


def released(leases: list[LeaseProcess]) -> None:
    """Nobody holds a device, its lock, or this machine."""
    assert all(lease.wait(0) is not None for lease in leases)
    places = (Path(os.environ["HARNESS_CACHE"]), Path(os.environ["HARNESS_LOCKS"]))
    locks = [path for place in places for path in place.rglob("*.lock")]
    assert locks
    for path in locks:
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where somebody has it


_SETTINGS: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}


@settings(max_examples=4, derandomize=True, **_SETTINGS)
@given(plan=PLANS, interruptions=INTERRUPTIONS)
def test_no_job_is_lost_and_none_done_twice(
    digits: dict[str, Path], plan: list[list[str]], interruptions: list[tuple[str, int]]
) -> None:
    interrupted_anyhow(plan, interruptions)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=5, **_SETTINGS)
@given(plan=PLANS, interruptions=INTERRUPTIONS)
def test_no_job_is_lost_and_none_done_twice_at_length(
    digits: dict[str, Path], plan: list[list[str]], interruptions: list[tuple[str, int]]
) -> None:
    interrupted_anyhow(plan, interruptions)
