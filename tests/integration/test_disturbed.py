"""A real trial on this machine while another program really uses its processors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.domain import AdvisoryKind
from harness.store import Store
from tests.support import needed

#: Keeps to one core and is busy; ends by itself, whatever becomes of the test.
_BUSY = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
print("busy", flush=True)
end = time.monotonic() + 90
while time.monotonic() < end:
    pass
"""


@contextmanager
def busy(core: int) -> Iterator[Callable[[], float]]:
    """Another program that uses a core; gives the CPU seconds that it has used."""
    process = subprocess.Popen(
        [sys.executable, "-c", _BUSY, str(core)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout and process.stdout.readline() == "busy\n"
        stat = Path(f"/proc/{process.pid}/stat")

        def used() -> float:
            fields = stat.read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        yield used
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False], ids=["the agent's core", "another core"])
def test_other_load(
    cli: Callable[..., subprocess.CompletedProcess[str]], suite_file: Callable[..., Path],
    digits: dict[str, Path],
    tmp_path: Path, shared: bool,
) -> None:  # fmt: skip
    del digits  # converted already: what is measured is all that takes time
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        needed("one processor only: there is no other core")
    suite = suite_file(
        recipes=["int8"], trials=3,
        policy=f'cores = "{cores[0]}"\nmeasure = ["latency"]\nmax_seconds = 5.0\n',
    )  # fmt: skip
    suite.write_text(suite.read_text().replace("min_seconds = 0.01", "min_seconds = 1.0"))
    store = f"sqlite:///{tmp_path}/s.db"
    with busy(cores[0] if shared else cores[1]) as spent:
        begin = time.monotonic(), spent()
        done = cli("run", str(suite), "--store", store, "--format", "json")
        rate = (spent() - begin[1]) / (time.monotonic() - begin[0])
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert AdvisoryKind.OTHER_LOAD in row["advisories"]
    with Store(store) as kept:
        (record,) = kept.jobs(kept.runs()[0].id)
    (evidence,) = [
        item.evidence for item in record.advisories if item.kind is AdvisoryKind.OTHER_LOAD
    ]
    told = float(evidence.split(" cores")[0].split()[-1])
    # All that the program used is told (on a machine that does more, that too), and no more than
    # there is. While the agent wants its core, the program has half of what it has otherwise.
    assert rate > 0
    assert (0.45 if shared else 0.8) * rate <= told <= len(cores), (evidence, rate)
    assert evidence.endswith(" during 3 of 3 trials"), evidence
