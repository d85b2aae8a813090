"""Names for runs, and stores that can only be read."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.domain import Backend, DeviceKind, Job
from harness.errors import StoreError
from harness.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    job = Job(0, "m", "float32", "local", DeviceKind.REAL, Backend("cpu", 1))
    with Store(f"sqlite:///{tmp_path}/s.db") as opened:
        for name in ("20260101-a", "20260102-b"):
            opened.create_run(name, {"name": "suite"}, {}, [job])
        yield opened


def test_a_baseline_names_a_run_wherever_one_is_named(store: Store) -> None:
    store.set_baseline("baseline", "20260101")
    store.set_baseline("release-1.0", "last")
    assert store.find_run("baseline").id == "20260101-a"
    assert store.find_run("release-1.0").id == "20260102-b"
    store.set_baseline("baseline", "last")
    assert store.find_run("baseline").id == "20260102-b"
    assert [(item.name, item.run, item.exists) for item in store.baselines()] == [
        ("baseline", "20260102-b", True), ("release-1.0", "20260102-b", True),
    ]  # fmt: skip
    store.clear_baseline("baseline")
    with pytest.raises(StoreError, match="'baseline' is not a run") as caught:
        store.find_run("baseline")
    assert "release-1.0" in (caught.value.hint or "")
    with pytest.raises(StoreError, match="no baseline 'baseline'"):
        store.clear_baseline("baseline")


@pytest.mark.parametrize("name", ["last", "", "2026", "a b", "-x", "x" * 65, "a\x1b[0m", "ä"])
def test_what_cannot_name_a_baseline(store: Store, name: str) -> None:
    with pytest.raises(StoreError):
        store.set_baseline(name, "last")
    assert store.baselines() == []


def test_a_baseline_needs_a_run(store: Store) -> None:
    with pytest.raises(StoreError, match="is not a run"):
        store.set_baseline("baseline", "20250101")


def test_a_baseline_whose_run_has_gone_says_so(store: Store, tmp_path: Path) -> None:
    store.set_baseline("nightly", "20260101-a")
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("DELETE FROM jobs WHERE run_id = '20260101-a'")
        connection.execute("DELETE FROM runs WHERE id = '20260101-a'")
    connection.close()
    with pytest.raises(StoreError, match="no longer in") as caught:
        store.find_run("nightly")
    assert "harness baseline set RUN --name nightly" in (caught.value.hint or "")
    assert [item.exists for item in store.baselines()] == [False]


def test_jobs_of_a_device_are_found_in_all_runs(store: Store) -> None:
    moved = Job(0, "m", "int8", "other", DeviceKind.REAL, Backend("cpu", 1))
    store.create_run("20260103-c", {"name": "suite"}, {}, [moved])
    (job,) = store.jobs("20260103-c")
    store.note_variant(job.id, "f" * 64, 1, {"ran_on": "local"})
    assert [item.run for item in store.jobs_on("local")] == [
        "20260101-a", "20260102-b", "20260103-c",
    ]  # fmt: skip
    assert [item.run for item in store.jobs_on("other")] == ["20260103-c"]
    assert store.jobs_on("nothing") == []


def read_as_nobody(url: str) -> list[str]:
    """What a user reads who can write neither the store nor its folder, and why they cannot."""
    said: list[str] = []
    try:
        with Store(url, create=False) as store:
            said.append(f"{store.find_run('last').id} {len(store.jobs_on('local'))}")
            store.set_baseline("baseline", "last")
    except StoreError as error:
        said.append(f"{type(error).__name__} {error}")
    return said


@pytest.fixture
def reading(store: Store, tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """``read_as_nobody`` of a copy, in a process of a user who is not the superuser.

    Outside of pytest's own folder, which its sessions keep for their user alone.
    """
    store.close()
    folder = Path(tempfile.mkdtemp(prefix="edge-harness-"))
    read, write = os.pipe()

    def run() -> list[str]:
        shutil.copyfile(tmp_path / "s.db", folder / "s.db")
        (folder / "s.db").chmod(0o444)
        # The cache may be on the disk that cannot be written.
        for name, mode in (("HARNESS_CACHE", 0o555), ("HARNESS_LOCKS", 0o777)):
            (folder / name).mkdir()
            (folder / name).chmod(mode)
            patch.setenv(name, str(folder / name))
        folder.chmod(0o555)
        child = os.fork()
        if child == 0:
            try:
                if os.geteuid() == 0:
                    os.setgid(65534)
                    os.setuid(65534)
                os.write(write, "\n".join(read_as_nobody(f"sqlite:///{folder}/s.db")).encode())
            except BaseException as error:
                os.write(write, repr(error).encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(write)
        with os.fdopen(read) as pipe:
            return pipe.read().splitlines()

    with pytest.MonkeyPatch.context() as patch:
        yield run
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_store_that_cannot_be_written_is_read(reading: Callable[[], list[str]]) -> None:
    said = reading()
    assert said[0] == "20260102-b 2" and "read-only" in said[1]


def test_an_old_store_that_cannot_be_written_says_why(
    reading: Callable[[], list[str]], tmp_path: Path
) -> None:
    with sqlite3.connect(tmp_path / "s.db") as connection:
        connection.execute("DROP TABLE baselines")
        connection.execute("UPDATE alembic_version SET version_num = '0002'")
    connection.close()
    said = " ".join(reading())
    assert said.startswith("StoreVersionError") and "schema 0002, older" in said
    assert "read-only" in said and "read a copy" in said


def test_a_store_that_is_being_written_is_read_and_says_who_waits(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.store.database.LOCK_TIMEOUT", 0.1)
    writer = sqlite3.connect(tmp_path / "s.db")
    writer.execute("BEGIN IMMEDIATE")
    with Store(f"sqlite:///{tmp_path}/s.db", create=False) as other:
        assert other.find_run("last").id == "20260102-b"
        with pytest.raises(StoreError, match="locked by another process"):
            other.set_baseline("baseline", "last")
    writer.close()
