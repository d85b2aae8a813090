"""The wheel carries agents, profiles, templates and migrations, and works anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
def test_a_wheel_works_away_from_the_checkout(tmp_path: Path, digits: dict[str, Path]) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = (tmp_path / "dist").glob("edge_harness-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        names = archive.namelist()
    assert not [name for name in names if name.startswith(("tests/", "results/"))]
    native = ROOT / "device_agents" / "native"
    sources = {f"device_agents/native/{path.name}" for path in native.glob("*.c")}
    assert len(sources) > 10 and sources < set(names) and "device_agents/shell/target.sh" in names
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        f"import harness; assert harness.__file__.startswith({str(tmp_path)!r}), harness.__file__\n"
        "from harness.cli import main; main()"
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "demo", "-d", "pixel-3", "-d", "local", "-r", "int8",
         "--format", "json"],
        cwd=elsewhere, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in json.loads(done.stdout)] == ["ok", "ok"]
    assert list((elsewhere / "results" / "reports").glob("*.html"))
