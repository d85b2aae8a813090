"""What a device's own shell does for the lease: the real scripts, in the shells of the field."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from tests.support import needed
from tests.support.lease import SHELLS, Field


@pytest.fixture(params=SHELLS, ids=lambda words: words[0])
def field(request: pytest.FixtureRequest, tmp_path: Path) -> Field:
    return Field(tmp_path, request.param)


def running_agent(field: Field) -> subprocess.Popen[bytes]:
    """A ``cat`` under the first lease that has begun for sure."""
    agent = field.guarded(1, "aa", "cat")
    assert agent.stdin and agent.stdout
    agent.stdin.write(b"x\n")
    agent.stdin.flush()
    assert agent.stdout.readline() == b"x\n"
    return agent


def test_every_shell_of_the_field_is_here() -> None:
    if len(SHELLS) < 4:
        needed("busybox and mksh (Android's shell) are not installed")


def test_numbers_rise_and_a_closed_session_is_free_at_once(field: Field) -> None:
    for number, nonce in enumerate(("aa11", "bb22", "cc33"), 1):
        holder = field.hold(nonce)
        assert holder.hear() == f"held {number} aa11 {field.leases}"
        holder.say("7 60")
        assert holder.hear() == "beat 7"
        if nonce == "bb22":
            assert holder.close() == "bb22 ended\n"  # the link was cut
        else:
            holder.say("0 0")
            assert holder.hear() == "ended"
            holder.close()
    assert stat.S_IMODE(field.leases.stat().st_mode) == 0o1777
    assert sorted(path.name for path in field.leases.iterdir()) == ["3", "place"]
    assert stat.S_IMODE((field.leases / "3").stat().st_mode) == 0o755
    assert not field.asked.exists()


def test_a_living_session_is_waited_for_by_name(field: Field) -> None:
    first = field.hold("aa")
    assert first.hear().startswith("held 1 ")
    field.uptime(1050)
    second = field.hold("bb")
    assert second.hear() == "busy 50 aa@host $(x) *"
    assert second.hear() == "busy 50 aa@host $(x) *"
    first.close()
    said = second.hear()
    while said.startswith("busy"):
        said = second.hear()
    assert said.startswith("held 2 ")
    second.close()


def test_what_is_dead_is_taken_over_with_the_reason(field: Field) -> None:
    killed = field.hold("aa")
    assert killed.hear().startswith("held 1")
    killed.kill()
    second = field.hold("bb")
    assert second.hear() == "took gone aa@host $(x) *"
    assert second.hear().startswith("held 2")
    field.boot("second")  # a restart without a word; the process number may be used again
    third = field.hold("cc")
    assert third.hear() == "took restarted bb@host $(x) *"
    assert third.hear().startswith("held 3")
    second.say("1 60")
    assert second.hear() == "lost cc@host $(x) *" and second.hear() == ""
    second.close()
    third.close()


def test_silence_is_judged_by_the_uptime_alone(field: Field) -> None:
    first = field.hold("aa", good=100)
    assert first.hear().startswith("held 1")
    first.say("1 500")
    assert first.hear() == "beat 1"
    field.uptime(1499)
    second = field.hold("bb")
    assert second.hear().startswith("busy 499 aa@host")
    field.uptime(1501)
    said = second.hear()
    while said.startswith("busy"):
        said = second.hear()
    assert said == "took silent aa@host $(x) *"
    assert second.hear().startswith("held 2")
    assert not field.asked.exists()
    first.say("2 60")
    assert first.hear() == "lost bb@host $(x) *"
    first.close()
    second.close()


def test_a_session_goes_on_over_a_new_link(field: Field) -> None:
    """The device has not noticed the cut, so the old process still holds the lease."""
    first = field.hold("aa", late="sleep 300 & echo late $! >late; ")
    assert first.hear().startswith("held 1")
    late = int((field.base / "late").read_text().split()[1])
    again = field.hold("cc", previous="aa,bb")  # "bb" was asked for, and never heard of again
    assert again.hear().startswith("held 2")
    # What still writes files for the old link would write into those of the new one.
    assert first.process.wait(20) == -signal.SIGKILL
    first.process.communicate(timeout=20)
    assert not alive(late)
    again.close()


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_who_has_left_takes_nothing(field: Field) -> None:
    first = field.hold("aa")
    assert first.hear().startswith("held 1")
    second = field.hold("bb")
    assert second.hear().startswith("busy")
    for stream in (second.process.stdin, second.process.stdout, second.process.stderr):
        assert stream
        stream.close()
    first.close()
    assert second.process.wait(20) != 0
    assert sorted(path.name for path in field.leases.iterdir()) == ["1", "place"]


def test_an_agent_runs_only_under_the_newest_lease(field: Field) -> None:
    first = field.hold("aa")
    assert first.hear().startswith("held 1")
    agent = field.guarded(1, "aa", "cat")
    out, err = agent.communicate(b"it runs", timeout=20)
    assert (out, err, agent.returncode) == (b"it runs", b"", 0)
    for number, nonce in ((1, "bb"), (2, "aa"), (9, "cc")):
        refused = field.guarded(number, nonce, "cat")
        assert refused.communicate(timeout=20)[0] == b"" and refused.returncode == 76
    missing = field.guarded(1, "aa", "/nonexistent/python3", "x")
    assert b"/nonexistent/python3" in missing.communicate(timeout=20)[1]
    assert missing.returncode == 127
    running = running_agent(field)
    field.uptime(2000)
    second = field.hold("bb")
    assert second.hear().startswith("took silent") and second.hear().startswith("held 2")
    assert running.wait(20) == -signal.SIGKILL  # it would disturb the new session
    running.communicate()
    late = field.guarded(1, "aa", "cat")
    assert late.communicate(timeout=20)[0] == b"" and late.returncode == 76
    first.close()
    second.close()


def test_a_hung_agent_does_not_outlive_its_session(field: Field) -> None:
    holder = field.hold("aa")
    assert holder.hear().startswith("held 1")
    hung = running_agent(field)
    os.kill(hung.pid, signal.SIGSTOP)
    after = running_agent(field)
    assert hung.wait(20) == -signal.SIGKILL
    os.kill(after.pid, signal.SIGSTOP)
    holder.close()
    assert after.wait(20) == -signal.SIGKILL
    for process in (hung, after):
        process.communicate()


def test_a_home_folder_in_the_programs_name(field: Field, tmp_path: Path) -> None:
    (tmp_path / "odd name").write_text('#!/bin/sh\necho "it is $1"\n')
    (tmp_path / "odd name").chmod(0o755)
    field.env["HOME"] = str(tmp_path)
    holder = field.hold("aa")
    assert holder.hear().startswith("held 1")
    out, _ = field.guarded(1, "aa", "~/odd name", "$(id) 'x'").communicate(timeout=20)
    assert out == b"it is $(id) 'x'\n"
    holder.close()


def test_what_others_have_left_is_never_trusted(field: Field, tmp_path: Path) -> None:
    folder = field.leases
    folder.mkdir(mode=0o777)
    (folder / "12345678901234567890").mkdir()
    (folder / "9$(touch hacked)").mkdir()
    (folder / "8 * `touch hacked`").write_text("x")
    (folder / "3").symlink_to(tmp_path / "elsewhere")
    first = field.hold("aa")
    assert first.hear() == "took unfinished "
    assert first.hear().startswith("held 4")
    assert not (tmp_path / "elsewhere").exists() and not list(tmp_path.rglob("hacked"))
    first.close()
    hostile = folder / "5"
    hostile.mkdir()
    os.mkfifo(hostile / "lease")
    (hostile / "beat").write_text("08 $(touch hacked)")
    second = field.hold("bb")
    assert second.hear() == "took unfinished " and second.hear().startswith("held 6")
    second.close()
    hostile = folder / "7"
    hostile.mkdir()
    with open(hostile / "lease", "wb") as file:
        file.truncate(1 << 40)
    (hostile / "beat").symlink_to("/dev/zero")
    third = field.hold("cc")
    assert third.hear().startswith("took unfinished") and third.hear().startswith("held 8")
    third.process.communicate(timeout=20)  # bash complains of the zeros
    (folder / "999999999").mkdir()
    (folder / "999999999" / "ended").touch()
    full = field.hold("dd")
    assert full.hear().startswith("problem the numbers in")
    full.process.communicate(timeout=20)
    assert not list(tmp_path.rglob("hacked"))


def test_no_folder_for_a_lease_is_a_problem_with_its_name(field: Field) -> None:
    field.leases.write_text("a file")
    holder = field.hold("aa")
    assert f"problem {field.leases} cannot be written" in f"problem {holder.hear()[8:]}"
    holder.process.communicate(timeout=20)
    assert holder.process.returncode == 1
    field.leases.unlink()
    (field.base / "elsewhere").mkdir()
    field.leases.symlink_to(field.base / "elsewhere")
    holder = field.hold("bb")
    assert "cannot be written" in holder.hear()
    holder.process.communicate(timeout=20)
    assert not list((field.base / "elsewhere").iterdir())
