"""Standard streams that are closed, full, or that nobody reads any more."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HARNESS = f"{sys.executable} -m harness"


def shell(command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.parametrize("what", ["recipes", "run --help"])
def test_a_full_disk_under_the_output_is_told(tmp_path: Path, what: str) -> None:
    done = shell(f"{HARNESS} {what} >/dev/full", tmp_path)
    assert done.returncode == 3
    assert done.stderr == "error: cannot write the output: No space left on device\n"


def test_a_reader_that_left_is_neither_a_passed_nor_a_failed_gate(tmp_path: Path) -> None:
    done = shell(f"{HARNESS} recipes | true; exit ${{PIPESTATUS[0]}}", tmp_path)
    assert done.returncode == 141 and done.stderr == ""


@pytest.mark.parametrize(
    "closed",
    [
        pytest.param(">&-", marks=pytest.mark.slow),
        pytest.param("2>&-", marks=pytest.mark.slow),
        "<&- >&- 2>&-",
    ],
)
def test_closed_streams_are_no_defect_and_keep_the_store_whole(tmp_path: Path, closed: str) -> None:
    """The first file to be opened gets a free number: it must not be the one of stdout."""
    assert shell(f"{HARNESS} recipes {closed}", tmp_path).returncode == 0
    store = "--store sqlite:///s.db"
    ran = shell(f"{HARNESS} run demo --device pixel-3 --recipe float32 {store} {closed}", tmp_path)
    assert ran.returncode == 0, ran.stderr
    table = shell(f"{HARNESS} table {store} --format csv", tmp_path)
    assert table.returncode == 0 and "float32" in table.stdout


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("predict mobilenet_v1_1.0_224 --device nothing", 2),  # an error of ours
        ("predict --nonsense", 2),  # one of the command line's library
    ],
)
@pytest.mark.parametrize("stderr", ["nobody", "/dev/full"])
def test_an_error_that_nobody_can_read_keeps_its_status(
    tmp_path: Path, command: str, status: int, stderr: str
) -> None:
    if stderr == "nobody":
        reader, writer = os.pipe()
        os.close(reader)
    else:
        writer = os.open(stderr, os.O_WRONLY)
    try:
        done = subprocess.run(
            [*HARNESS.split(), *command.split()], cwd=tmp_path, stdout=subprocess.PIPE,
            stderr=writer, timeout=100, check=False,
        )  # fmt: skip
    finally:
        os.close(writer)
    assert done.returncode == status
