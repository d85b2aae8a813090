"""Gates, baselines, history and recommendations by the command line, over simulated devices."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from tests.support import harness_command, write_suite

GATES = """
[[gates]]
max_size = "1 MB"
max_accuracy_drop = 1

[[gates]]
recipes = ["int8"]
no_regression_against = "baseline"
"""


class User:
    """A working folder with a suite that has been run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self, *words: str, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        import os

        return subprocess.run(
            [*harness_command(), *words], cwd=self.folder, capture_output=True, text=True,
            check=False, stdin=subprocess.DEVNULL, env={**os.environ, **(env or {})},
        )  # fmt: skip


@pytest.fixture(scope="module")
def first(
    tmp_path_factory: pytest.TempPathFactory, digits: dict[str, Path]
) -> tuple[User, subprocess.CompletedProcess[str]]:
    """Somebody who has run a suite with gates for the first time, and how that went."""
    user = User(tmp_path_factory.mktemp("user"))
    suite = write_suite(
        user.folder / "suite.toml", recipes=["float32", "int8"], devices=["pixel-3"], trials=3
    )
    suite.write_text(suite.read_text() + GATES)
    return user, user("run", "suite.toml")


@pytest.fixture(scope="module")
def user(first: tuple[User, subprocess.CompletedProcess[str]]) -> User:
    """The same, with the first run as the baseline and a second one after it."""
    user, _ = first
    assert user("baseline", "set", "last").returncode == 0
    done = user("run", "suite.toml")
    assert done.returncode == 0, done.stderr
    assert "gates: 4 passed, 1 does not apply" in done.stderr
    return user


def test_the_first_run_has_no_baseline_and_says_so(
    first: tuple[User, subprocess.CompletedProcess[str]],
) -> None:
    _, done = first
    assert done.returncode == 1
    (line,) = [item for item in done.stderr.splitlines() if item.startswith("gate ")]
    assert line.startswith("gate cannot tell: no_regression_against baseline: the whole run: ")
    assert "'baseline' is not a run" in line
    assert "digits on pixel-3" in done.stdout  # the result is there all the same


def test_check_writes_what_ci_reads(user: User) -> None:
    (user.folder / "tight.toml").write_text('[gates]\nmax_size = "200 kB"\n')
    words = ("check", "--gates", "tight.toml", "--junit", "out/gates.xml", "--markdown", "sum.md")
    summary = {"GITHUB_STEP_SUMMARY": str(user.folder / "sum.md")}
    (user.folder / "sum.md").write_text("before\n")
    done = user(*words, env=summary)
    assert done.returncode == 1, done.stderr
    assert "failed         digits/float32 on pixel-3 (cpu x4), simulated: 555.5 kB" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    suite = Xml.parse(user.folder / "out" / "gates.xml").getroot()
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("2", "1")
    text = (user.folder / "sum.md").read_text()
    assert text.startswith("before\n### ") and "555.5 kB" in text
    user(*words)
    assert "before" not in (user.folder / "sum.md").read_text()
    found = json.loads(user("check", "--format", "json").stdout)
    assert found["passed"] and {row["kind"] for row in found["findings"]} == {"simulated"}


def test_baselines_by_the_command_line(user: User) -> None:
    listed = json.loads(user("baseline", "list", "--format", "json").stdout)
    assert [(item["name"], item["exists"]) for item in listed] == [("baseline", True)]
    assert user("table", "baseline").returncode == 0
    done = user("baseline", "clear", "--name", "other")
    assert done.returncode == 2 and "there is no baseline 'other'" in done.stderr


def test_a_history_of_two_runs(user: User) -> None:
    done = user("history", "-d", "pixel-3", "--plot", "history.html")
    assert done.returncode == 0, done.stderr
    assert "digits/int8 on pixel-3 (cpu x4)  simulated" in done.stdout
    assert "2 runs: too few to tell a change (8 at least)" in done.stdout
    assert "data-chart=" in (user.folder / "history.html").read_text()
    rows = json.loads(user("history", "-d", "pixel-3", "--format", "json", "-r", "int8").stdout)
    assert len(rows) == 2 and rows[0]["kind"] == "simulated" and rows[0]["change"] is None
    done = user("history", "-d", "pixel-4")
    assert done.returncode == 2 and "devices of the newest runs: pixel-3" in done.stderr


def test_a_recommendation(user: User) -> None:
    done = user("recommend", "--max-accuracy-drop", "1", "--max-size", "2MB")
    assert done.returncode == 0, done.stderr
    assert "take int8 (cpu x4)" in done.stdout and "simulated" in done.stdout
    assert "float32 (cpu x4): slower by" in done.stdout
    done = user("recommend", "--max-latency-ms", "0.001")
    assert done.returncode == 1 and "none keeps the bounds" in done.stdout


def test_failed_jobs_come_before_gates(user: User) -> None:
    """The exit code of a run says that jobs failed, whatever the gates make of it."""
    gone = '[device.gone]\ntransport = "ssh"\nhost = "127.0.0.1"\nport = 1\n'
    suite = write_suite(
        user.folder / "gone.toml", devices=["gone"], device=gone, policy="retries = 0"
    )
    suite.write_text(suite.read_text() + '\n[gates]\nmax_size = "1 kB"\n')
    done = user("run", "gone.toml", "--store", "sqlite:///gone.db")
    assert done.returncode == 3, done.stderr
    assert "gate failed: max_size 1.0 kB: digits/float32 on gone" in done.stderr
    assert user("check", "--store", "sqlite:///gone.db").returncode == 1


def test_help_is_worth_reading(user: User) -> None:
    for command in ("check", "history", "recommend", "baseline"):
        done = user(command, "--help")
        assert done.returncode == 0 and len(done.stdout.splitlines()) > 8, command
