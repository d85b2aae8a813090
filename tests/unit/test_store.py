from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from harness.domain import (
    Advisory,
    AdvisoryKind,
    Backend,
    DeviceKind,
    Direction,
    Fence,
    Job,
    JobStatus,
    Measurement,
    Stage,
    TrialStatus,
)
from harness.errors import (
    LeaseLostError,
    SealedError,
    StoreError,
    StoreFullError,
    StoreVersionError,
)
from harness.store import Conclusion, Store
from harness.store.codec import decode_samples, encode_samples
from harness.store.schema import metadata


def jobs(count: int = 2) -> list[Job]:
    return [
        Job(index, "m", f"r{index}", "local", DeviceKind.REAL, Backend("cpu", 1))
        for index in range(count)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path}/s.db") as opened:
        opened.create_run("run-1", {"name": "suite"}, {"python": "3"}, jobs())
        yield opened


def test_a_run_is_written_and_read_back(store: Store) -> None:
    first, second = store.jobs("run-1")
    assert (first.job, second.job) == tuple(jobs())
    assert first.status is JobStatus.PENDING and first.sealed_at is None
    trial = store.begin_trial(first.id, 0, "latency")
    at, values = np.arange(5) * 1000, np.array([5, 4, 3, 2, 1])
    store.append_samples(trial, 0, "measure", at[:3], values[:3])
    store.append_samples(trial, 1, "measure", at[3:], values[3:])
    store.end_trial(
        trial, TrialStatus.OK, hello={"a": 1}, facts={"b": 2},
        artifacts={"predictions": np.arange(6).reshape(2, 3)},
    )  # fmt: skip
    (read,) = store.trials(first.id, with_samples=True)
    assert read.status is TrialStatus.OK and read.hello == {"a": 1} and read.facts == {"b": 2}
    assert read.phases["measure"][0].tolist() == at.tolist()
    assert read.phases["measure"][1].tolist() == values.tolist()
    kept = store.artifact(first.id, "predictions")
    assert kept is not None and kept.tolist() == [[0, 1, 2], [3, 4, 5]]
    measurement = Measurement("latency_median", 1.5, "ms", Direction.LOWER, 5, 1.0, 2.0, 1)
    advisory = Advisory(AdvisoryKind.FEW_TRIALS, "1 trial(s)")
    store.seal_job(Conclusion(
        first.id, JobStatus.OK, Stage.DONE, variant_sha256="f" * 64, size_bytes=10,
        manifest={"k": "v"}, runtime="r", runtime_version="1", facts={"x": 1},
        measurements=[measurement], advisories=[advisory],
    ))  # fmt: skip
    sealed = store.jobs("run-1")[0]
    assert sealed.status is JobStatus.OK and sealed.sealed_at
    assert sealed.measurements == {"latency_median": measurement}
    assert sealed.advisories == (advisory,)
    assert store.counts("run-1") == {"ok": 1, "pending": 1}


def test_a_sealed_job_never_changes(store: Store) -> None:
    job = store.jobs("run-1")[0]
    trial = store.begin_trial(job.id, 0, "latency")
    store.seal_job(Conclusion(job.id, JobStatus.FAILED, Stage.LATENCY, error="why"))
    before = store.jobs("run-1")[0], store.trials(job.id)
    for write in (
        lambda: store.seal_job(Conclusion(job.id, JobStatus.OK, Stage.DONE)),
        lambda: store.begin_trial(job.id, 1, "latency"),
        lambda: store.append_samples(trial, 0, "measure", np.array([1]), np.array([1])),
        lambda: store.end_trial(trial, TrialStatus.OK),
        lambda: store.end_trial(trial, TrialStatus.OK, artifacts={"p": np.arange(3)}),
    ):
        with pytest.raises(SealedError):
            write()
    assert (store.jobs("run-1")[0], store.trials(job.id)) == before


def test_before_a_resume_only_unfinished_trials_go(store: Store) -> None:
    job = store.jobs("run-1")[0]
    kept = store.begin_trial(job.id, 0, "latency")
    store.append_samples(kept, 0, "measure", np.array([1]), np.array([7]))
    store.end_trial(kept, TrialStatus.OK)
    cut = store.begin_trial(job.id, 1, "latency")
    store.append_samples(cut, 0, "measure", np.array([1]), np.array([8]))
    assert store.discard_unfinished("run-1") == 1
    (left,) = store.trials(job.id, with_samples=True)
    assert left.id == kept and left.phases["measure"][1].tolist() == [7]


def test_runs_are_found_by_id_beginning_and_last(store: Store) -> None:
    store.create_run("run-2", {"name": "suite"}, {}, jobs())
    assert store.find_run("run-1").id == "run-1"
    assert store.find_run("last").id == "run-2"
    for name in ("run-", "nothing", ""):
        with pytest.raises(StoreError):
            store.find_run(name)


def test_a_missing_store_is_not_created_for_reading(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        Store(f"sqlite:///{tmp_path}/none.db", create=False)
    assert not (tmp_path / "none.db").exists()


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is not a database, it is a text file" * 50)
    with pytest.raises(StoreError, match="not a database"):
        Store(f"sqlite:///{tmp_path}/text.db")
    with pytest.raises(StoreError, match="not a store URL"):
        Store("results.db")
    with pytest.raises(StoreError, match="no driver"):
        Store("nosuchdb://localhost/x")


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE jobs (id INTEGER)")
    connection.close()
    with pytest.raises(StoreError, match="did not make"):
        Store(f"sqlite:///{tmp_path}/other.db")


def test_a_newer_store_is_refused_with_what_to_do(store: Store, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StoreVersionError, match="newer") as caught:
        Store(f"sqlite:///{tmp_path}/s.db")
    assert "upgrade" in (caught.value.hint or "")


def test_a_store_that_does_not_say_its_schema_is_damaged(store: Store, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ''")
    connection.close()
    with pytest.raises(StoreError, match="it is damaged") as caught:
        Store(f"sqlite:///{tmp_path}/s.db")
    assert not isinstance(caught.value, StoreVersionError)


def test_files_that_hold_no_store_to_read(tmp_path: Path) -> None:
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(StoreError, match="is an empty file, not a store"):
        Store(f"sqlite:///{empty}", create=False)
    assert empty.stat().st_size == 0  # looking at it has not made it one
    with pytest.raises(StoreError, match="is a folder, not a store"):
        Store(f"sqlite:///{tmp_path}", create=False)
    with Store(f"sqlite:///{empty}") as store:
        assert store.runs() == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_store_of_another_user_says_who_can_help(store: Store, tmp_path: Path) -> None:
    (tmp_path / "s.db").chmod(0)
    with pytest.raises(StoreError, match="may not be read by this user") as caught:
        Store(f"sqlite:///{tmp_path}/s.db", create=False)
    assert "chmod" in (caught.value.hint or "")


def test_a_full_disk_is_its_own_error_and_loses_nothing(store: Store) -> None:
    job = store.jobs("run-1")[0]
    trial = store.begin_trial(job.id, 0, "latency")
    with store._engine.connect() as connection:
        pages = connection.execute(sa.text("PRAGMA page_count")).scalar_one()
        connection.execute(sa.text(f"PRAGMA max_page_count = {pages + 2}"))
    noise = np.random.default_rng(0).integers(0, 1 << 40, 50_000)
    with pytest.raises(StoreFullError, match="no room left"):
        for seq in range(10):
            store.append_samples(trial, seq, "measure", noise, noise)
    assert store.trials(job.id)[0].status is TrialStatus.RUNNING


def test_a_read_only_store_says_so(store: Store, tmp_path: Path) -> None:
    with Store(f"sqlite:///file:{tmp_path}/s.db?mode=ro&uri=true", create=False) as reading:
        assert reading.find_run("run-1")
        with pytest.raises(StoreError, match="read-only"):
            reading.finish_run("run-1", "finished")


def test_migrations_make_the_tables_of_the_schema(store: Store) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with store._engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


@given(st.lists(st.tuples(st.integers(0, 1 << 60), st.integers(0, 1 << 60)), max_size=200))
def test_samples_survive_their_compact_form(pairs: list[tuple[int, int]]) -> None:
    at = np.array([pair[0] for pair in pairs], dtype=np.int64)
    values = np.array([pair[1] for pair in pairs], dtype=np.int64)
    read = decode_samples(encode_samples(at, values))
    assert np.array_equal(read[0], at) and np.array_equal(read[1], values)


def test_samples_are_compact() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(100_000, 500, 10_000).astype(np.int64)
    assert len(encode_samples(np.cumsum(values), values)) < 6 * 10_000


@pytest.mark.parametrize("cut", [0, 3, 20, -1])
def test_damaged_samples_are_an_error(cut: int) -> None:
    data = encode_samples(np.arange(100), np.arange(100))
    with pytest.raises(StoreError):
        decode_samples(data[:cut])


def test_a_session_that_another_has_followed_writes_no_result(store: Store, tmp_path: Path) -> None:
    job = store.jobs("run-1")[0]
    old, new, elsewhere = Fence("place", 6), Fence("place", 7), Fence("other", 1)
    store.claim(old)
    trial = store.begin_trial(job.id, 0, "latency")
    with Store(f"sqlite:///{tmp_path}/s.db") as another:
        another.claim(new)
    with pytest.raises(LeaseLostError, match="session 6"):
        store.end_trial(trial, TrialStatus.OK, artifacts={"p": np.arange(3)}, fence=old)
    assert store.trials(job.id)[0].status is TrialStatus.RUNNING
    assert store.artifact(job.id, "p") is None
    with pytest.raises(LeaseLostError):
        store.claim(old)
    store.claim(elsewhere)
    store.end_trial(trial, TrialStatus.OK, fence=new)
    assert store.trials(job.id)[0].status is TrialStatus.OK


def test_what_is_withdrawn_counts_no_longer_and_says_why(store: Store) -> None:
    job = store.jobs("run-1")[0]
    trial = store.begin_trial(job.id, 0, "latency")
    store.end_trial(trial, TrialStatus.OK, artifacts={"p": np.arange(3)})
    store.withdraw_trials(job.id, "moved")
    (read,) = store.trials(job.id)
    assert (read.status, read.error) == (TrialStatus.FAILED, "moved")
    assert store.artifact(job.id, "p") is None
    store.seal_job(Conclusion(job.id, JobStatus.FAILED, Stage.LATENCY, error="why"))
    with pytest.raises(SealedError):
        store.withdraw_trials(job.id, "late")


def test_a_store_of_the_first_schema_is_brought_up_to_date(store: Store, tmp_path: Path) -> None:
    store.close()
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("DROP TABLE fences")
        connection.execute("DROP TABLE baselines")
        connection.execute("UPDATE alembic_version SET version_num = '0001'")
    connection.close()
    with Store(f"sqlite:///{tmp_path}/s.db") as again:
        assert len(again.jobs("run-1")) == 2
        again.claim(Fence("place", 1))
