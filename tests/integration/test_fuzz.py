"""Every fuzz target, shortly: the readers of foreign bytes, and that findings would be found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fuzz.places import FOLDER
from fuzz.target import Target
from fuzz.targets import TARGETS
from tests.conftest import ROOT

#: It has a program to build first.
_LONG = "native_agent"
#: It gives the file system up, for which a process needs to be without threads.
_ALONE = "android"


def fuzz(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "--format", "json", "--work", str(folder), *arguments],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )  # fmt: skip
    texts = [path.read_text() for path in sorted(folder.glob("*/*.txt"))]
    assert done.returncode == 0, "\n".join([done.stderr, *texts])[-5000:]
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


@pytest.mark.parametrize("names", [[*TARGETS.keys() - {_LONG, _ALONE}], [_ALONE]], ids=len)
def test_a_few_changes_to_good_inputs(names: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz.child", *names, "--engine", "own", "--executions", "60",
         "--seed", "7", "--work", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1",
             FOLDER: str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for name in names:
        stats = json.loads((tmp_path / name / "stats.json").read_text())
        texts = [path.read_text() for path in sorted((tmp_path / name).glob("*.txt"))]
        assert stats["executions"] > 60 and not stats["findings"], (stats, texts)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_longer(name: str, tmp_path: Path) -> None:
    """A gate gives the same answer twice, so it counts inputs; elsewhere coverage has 20 s."""
    count = 60 if name == _LONG else 150
    gate = bool(os.environ.get("CI") or os.environ.get("HARNESS_REQUIRE_ALL"))
    (row,) = fuzz(tmp_path, name, *(["--executions", str(count)] if gate else ["--seconds", "20"]))
    assert row["executions"] >= count if gate else row["seconds"] > 15


CASES = {
    "ZeroDivisionError": "lambda data: 1 / 0, lambda: []",
    "too-long": "lambda data: [None for _ in iter(int, 1)], lambda: [], cpu_seconds=0.3",
    "memory": "lambda data: len(data * (300 << 20)), lambda: []",
    "MemoryError": "lambda data: bytearray(1 << 50), lambda: []",
}


@pytest.mark.parametrize("kind", CASES)
def test_what_a_reader_must_not_do_is_found(kind: str, tmp_path: Path) -> None:
    """In a process of its own: memory once taken would hide what the next test takes."""
    program = f"""
from fuzz.guard import check, watch
from fuzz.target import Target
watch()
target = Target({CASES[kind]})
print(check(target, b"x").kind)
assert check(Target(lambda data: None, lambda: []), b"x") is None
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == kind, done.stderr


def test_an_error_of_our_own_is_an_answer() -> None:
    from fuzz.guard import check
    from harness.errors import ConfigError

    def refuse(data: bytes) -> None:
        raise ConfigError("no")

    assert check(Target(refuse, lambda: []), b"x", wall=False) is None
    found = check(Target(refuse, lambda: [], allowed=()), b"x", wall=False)
    assert found is not None and found.name == f"ConfigError-{found.where}".replace(":", "-")
