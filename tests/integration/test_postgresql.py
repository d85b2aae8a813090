"""The store on a real PostgreSQL server."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import harness
from harness.store import Store
from tests.support import needed, write_suite


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of its own on a free loopback port; PostgreSQL refuses to run as root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = str(found[-1]) if found else shutil.which("initdb")
    if not initdb:
        needed("PostgreSQL's server is not installed (Debian: postgresql)")
    bin_folder = Path(initdb).parent
    folder = tmp_path_factory.mktemp("pg")
    user: str | None = None
    if os.geteuid() == 0:
        user = "postgres"
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        for parent in folder.parents:
            if parent.owner() == "root" and str(parent).startswith("/tmp/"):
                parent.chmod(parent.stat().st_mode | 0o111)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / "data"
    subprocess.run(
        [initdb, "-D", str(data), "-U", "harness", "-A", "trust", "--no-sync"],
        check=True, capture_output=True, user=user, cwd="/",
    )  # fmt: skip
    log = open(folder / "log", "wb")  # noqa: SIM115  the server's for as long as it runs
    server = subprocess.Popen(
        [str(bin_folder / "postgres"), "-D", str(data), "-p", str(port), "-h", "127.0.0.1",
         "-k", str(data), "-F"],
        stdout=log, stderr=log, user=user, cwd="/",
    )  # fmt: skip
    try:
        for _ in range(100):
            ready = subprocess.run(
                [str(bin_folder / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)],
                capture_output=True, check=False,
            )  # fmt: skip
            if ready.returncode == 0:
                break
            server.poll()
            assert server.returncode is None, (folder / "log").read_text()
            time.sleep(0.1)
        yield f"postgresql+psycopg://harness@127.0.0.1:{port}/postgres"
    finally:
        server.send_signal(signal.SIGINT)  # at once, whoever is still connected
        server.wait(20)
        log.close()


def test_a_run_in_postgresql(postgresql: str, tmp_path: Path, digits: dict[str, Path]) -> None:
    suite = write_suite(
        tmp_path / "suite.toml", recipes=["float32", "int8"], devices=["pixel-3", "coral-usb"]
    )
    here = harness.run(suite, store=f"sqlite:///{tmp_path}/s.db")
    there = harness.run(suite, store=postgresql)
    for one, other in zip(here.rows(), there.rows(), strict=True):
        assert {**one, "run": ""} == {**other, "run": ""}
    loaded = harness.load(there.id[:20], store=postgresql)
    assert loaded.text("csv") == there.text("csv")
    with Store(postgresql) as again:
        assert again.counts(there.id) == {"ok": 3, "unsupported": 1}
        record = again.jobs(there.id)[0]
        trial = again.trials(record.id, with_samples=True)[-1]
        assert len(trial.phases["measure"][1]) >= 5
        again.set_baseline("baseline", there.id)
        assert again.find_run("baseline").id == there.id
    (series, *_) = harness.history("size", there.rows()[0]["device"], store=postgresql)
    assert [point.run for point in series.points] == [there.id]
