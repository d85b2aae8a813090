"""Whom the ssh link trusts on its way, and what login shells do to it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.devices.session import Session
from harness.domain import Stage
from harness.errors import HostKeyError, UnreachableError
from harness.transports.quoting import command_line
from tests.integration.test_ssh import device
from tests.integration.test_ssh_push import force, noise, nothing
from tests.support import needed
from tests.support.sshd import Sshd, start_sshd

ODD = [
    "plain", "two words", "it's", '"', "\\", "\\'", "\\'\";touch hacked;#", "$(touch hacked)",
    "`touch hacked`", "a\nb", "-n", "~", "*", "", "Größe", "\\\\", "!!", "{a,b}", "%s", "a\\",
]  # fmt: skip


@pytest.mark.parametrize("shell", ["dash", "bash", "mksh", "busybox ash", "fish"])
def test_no_word_is_code_for_any_login_shell(shell: str, tmp_path: Path) -> None:
    program = shell.split()
    if not shutil.which(program[0]):
        needed(f"{program[0]} is not installed")
    line = command_line(["/usr/bin/printf", "%s\\0", *ODD])
    done = subprocess.run([*program, "-c", line], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == ODD
    assert not list(tmp_path.iterdir())


def test_a_revoked_host_key_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    known = tmp_path / "known"
    line = sshd.known_hosts.read_text().strip()
    key = line.split(" ", 1)[1]
    known.write_text(f"{line}\n@revoked * {key}\n")
    with (
        pytest.raises(HostKeyError, match="REVOKED") as caught,
        Session(device(sshd, tmp_path, known_hosts=str(known)), "test"),
    ):
        pass
    assert not caught.value.transient and "@revoked" in str(caught.value.hint)


@pytest.mark.parametrize("what", ["another key", "nobody there"])
def test_what_is_in_between_says_why_there_is_no_way(sshd: Sshd, tmp_path: Path, what: str) -> None:
    with start_sshd(tmp_path / "jump") as jump:
        if what == "another key":
            kind, key = (sshd.folder / "host_key.pub").read_text().split()[:2]
            jump.known_hosts.write_text(f"[127.0.0.1]:{jump.port} {kind} {key}\n")
        else:
            jump.stop()
        config = tmp_path / "config"
        config.write_text(
            f"Host jump\n  HostName 127.0.0.1\n  Port {jump.port}\n"
            f"  UserKnownHostsFile {jump.known_hosts}\n  IdentityFile {jump.key}\n"
            f"Host behind\n  HostName 127.0.0.1\n  Port {sshd.port}\n  ProxyJump jump\n"
        )
        behind = device(
            sshd, tmp_path, host="behind", port=None, user=None, ssh_config=str(config)
        )  # fmt: skip
        wanted = HostKeyError if what == "another key" else UnreachableError
        why = "Host key verification failed" if what == "another key" else "refused"
        with pytest.raises(wanted, match=why) as caught, Session(behind, "test"):
            pass
        assert "in between" in str(caught.value) and str(caught.value.hint).endswith("behind true")


@pytest.mark.parametrize("greeting", ["echo Welcome to this board", "printf Welcome"])
def test_a_greeting_disturbs_nothing(sshd: Sshd, tmp_path: Path, greeting: str) -> None:
    """Not the lease, not a push, not an agent."""
    force(sshd, f'{greeting}; eval "$SSH_ORIGINAL_COMMAND"')
    with Session(device(sshd, tmp_path), "test") as session:
        session.push([noise(tmp_path / "file", 100_000)], nothing)
        if "echo" in greeting:
            answer = session.ask(
                {"action": "probe"}, lambda *_: None, purpose=Stage.START, silence=30
            )
            assert answer.hello["agent"] == "python"
        session.verify()
