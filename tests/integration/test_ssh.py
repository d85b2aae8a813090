"""The ssh link against a real OpenSSH server."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cache import file_sha256
from harness.config.suites import load_suite
from harness.devices.blobs import Blob
from harness.devices.session import Session
from harness.domain import Device, Stage
from harness.errors import (
    AgentSetupError,
    AuthenticationError,
    DeviceFullError,
    HostKeyError,
    LinkLostError,
    UnreachableError,
)
from harness.orchestrate.environment import known_names
from harness.transports.ssh import SshTransport
from tests.support import needed, write_suite
from tests.support.sshd import Sshd

Cli = Callable[..., subprocess.CompletedProcess[str]]


def device(sshd: Sshd, tmp_path: Path, **settings: object) -> Device:
    path = write_suite(
        tmp_path / "ssh.toml", devices=["board"], device=sshd.device("board", **settings)
    )
    return load_suite(path, known_names()).devices[0]


def blob(path: Path) -> Blob:
    return Blob(path, file_sha256(path), path.stat().st_size, path.name)


def big_file(tmp_path: Path, megabytes: int) -> Blob:
    path = tmp_path / "big"
    path.write_bytes(os.urandom(megabytes * 1_000_000))
    return blob(path)


def test_pushes_verified_and_never_twice(sshd: Sshd, tmp_path: Path) -> None:
    file = big_file(tmp_path, 3)
    progress: list[tuple[int, int]] = []
    with Session(device(sshd, tmp_path), "test") as session:
        first = session.push([file], lambda *seen: progress.append(seen))
        remote = Path(session.path(file))
        assert hashlib.sha256(remote.read_bytes()).hexdigest() == file.sha256
        assert progress[-1] == (first, first) and first > file.size
        assert session.push([file], lambda *seen: progress.append(seen)) == 0
    with Session(device(sshd, tmp_path), "test") as session:
        assert session.push([file], lambda *seen: None) == 0


def test_a_push_that_arrives_damaged_does_not_count(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.errors import PushError

    file = big_file(tmp_path, 1)
    lying = Blob(file.path, "0" * 64, file.size, "a file of another content")
    with Session(device(sshd, tmp_path), "test") as session:
        with pytest.raises(PushError, match="not what was sent"):
            session.push([lying], lambda *seen: None)
        assert not Path(session.path(lying)).exists()
        parts = Path(sshd.folder / "device" / "parts")
        assert list(parts.iterdir()) == []


def test_unknown_host_key_is_refused_with_fingerprint_and_command(
    sshd: Sshd, tmp_path: Path
) -> None:
    empty = tmp_path / "nobody_known"
    empty.touch()
    with (
        pytest.raises(HostKeyError) as caught,
        Session(device(sshd, tmp_path, known_hosts=str(empty)), "test"),
    ):
        pass
    shown = subprocess.run(
        ["ssh-keygen", "-lf", str(sshd.folder / "host_key.pub")],
        capture_output=True, text=True, check=True,
    ).stdout.split()[1]  # fmt: skip
    assert shown in str(caught.value)
    command = str(caught.value).rsplit("accept it: ", 1)[1]
    assert command.startswith(f"ssh-keyscan -p {sshd.port} ")
    subprocess.run(command, shell=True, check=True, capture_output=True)
    with Session(device(sshd, tmp_path, known_hosts=str(empty)), "test"):
        pass  # the command that was shown does accept the key


def test_changed_host_key_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    other = (sshd.folder / "user_key.pub").read_text().split()
    changed = tmp_path / "changed"
    changed.write_text(f"[127.0.0.1]:{sshd.port} {other[0]} {other[1]}\n")
    with (
        pytest.raises(HostKeyError, match="CHANGED"),
        Session(device(sshd, tmp_path, known_hosts=str(changed)), "test"),
    ):
        pass


def test_refused_key(sshd: Sshd, tmp_path: Path) -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True
    )
    wrong = device(sshd, tmp_path, identity_file=str(tmp_path / "other"))
    with pytest.raises(AuthenticationError, match="refuses the key") as caught, Session(wrong, "t"):
        pass
    assert "ssh-copy-id" in str(caught.value)


@pytest.mark.parametrize(
    "form", [["ed25519"], ["ecdsa"], ["rsa"], ["rsa", "-m", "PEM"]], ids=" ".join
)
def test_a_refused_key_of_any_type(sshd: Sshd, tmp_path: Path, form: list[str]) -> None:
    """paramiko tells of the type that it tried last; that is no verdict on the device."""
    key = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", *form, "-N", "", "-f", str(key)], check=True)
    wrong = device(sshd, tmp_path, identity_file=str(key))
    with pytest.raises(AuthenticationError, match="refuses the key") as caught, Session(wrong, "t"):
        pass
    assert not caught.value.transient


@pytest.mark.parametrize(
    ("name", "content", "hint"),
    [
        ("user_key.pub", None, "the .pub is the public half"),
        ("notes", b"what I wanted to say", "ssh-keygen"),
        ("empty", b"", "ssh-keygen"),
        ("bytes", bytes(range(128, 256)), "ssh-keygen"),
    ],
)
def test_a_file_that_is_no_private_key(
    sshd: Sshd, tmp_path: Path, name: str, content: bytes | None, hint: str
) -> None:
    key = sshd.folder / name
    if content is not None:
        key.write_bytes(content)
    wrong = device(sshd, tmp_path, identity_file=str(key))
    with (
        pytest.raises(AuthenticationError, match=f"{name} is no private key") as caught,
        Session(wrong, "test"),
    ):
        pass
    assert hint in str(caught.value.hint) and not caught.value.transient


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_key_that_this_user_may_not_read(sshd: Sshd, tmp_path: Path) -> None:
    sshd.key.chmod(0)
    with (
        pytest.raises(AuthenticationError, match="cannot be read: Permission denied"),
        Session(device(sshd, tmp_path), "test"),
    ):
        pass


@pytest.fixture
def locked(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A key that the server accepts, whose passphrase is ``secret word``."""
    path = tmp_path / "locked key"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret word", "-f", str(path)], check=True
    )
    with open(sshd.folder / "authorized_keys", "a") as file:
        file.write(Path(f"{path}.pub").read_text())
    monkeypatch.delenv("SSH_ASKPASS", raising=False)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return path


def test_encrypted_key_says_how_to_unlock_it(sshd: Sshd, tmp_path: Path, locked: Path) -> None:
    with (
        pytest.raises(AuthenticationError, match="passphrase") as caught,
        Session(device(sshd, tmp_path, identity_file=str(locked)), "test"),
    ):
        pass
    assert f"ssh-add '{locked}'" in str(caught.value.hint)


def test_an_encrypted_key_of_an_older_form(sshd: Sshd, tmp_path: Path, locked: Path) -> None:
    old = tmp_path / "old"
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "rsa", "-m", "PEM", "-N", "secret", "-f", str(old)], check=True
    )
    with (
        pytest.raises(AuthenticationError, match="encrypted"),
        Session(device(sshd, tmp_path, identity_file=str(old)), "test"),
    ):
        pass


@pytest.mark.slow
def test_the_passphrase_is_asked_for_once(
    sshd: Sshd, tmp_path: Path, locked: Path, cli: Cli
) -> None:
    """By the program that OpenSSH asks; two devices of one run share the answer."""
    asked = tmp_path / "asked"
    program = tmp_path / "ask pass"
    program.write_text(f'#!/bin/sh\necho "$1" >>"{asked}"\necho "secret word"\n')
    program.chmod(0o755)
    more = {"identity_file": str(locked)}
    suite = write_suite(
        tmp_path / "two.toml", devices=["one", "two"],
        device=sshd.device("one", **more) + sshd.device("two", **more),
    )  # fmt: skip
    done = cli("run", str(suite), env={"SSH_ASKPASS": str(program)})
    assert done.returncode == 0, done.stderr
    assert asked.read_text().count("\n") == 1 and str(locked) in asked.read_text()
    program.write_text(f'#!/bin/sh\necho "$1" >>"{asked}"\necho wrong\n')
    asked.unlink()
    done = cli("run", str(suite), "-d", "one", env={"SSH_ASKPASS": str(program)})
    assert done.returncode == 3 and asked.read_text().count("\n") == 3
    assert "is encrypted, and nobody gave its passphrase" in " ".join(done.stdout.split())


def test_a_command_may_end_without_reading_its_input(sshd: Sshd, tmp_path: Path) -> None:
    with Session(device(sshd, tmp_path), "test") as session:
        script = "echo said; echo why >&2; exit 3"
        for _ in range(5):
            done = session.transport.run(["sh", "-c", script], stdin=bytes(8_000_000))
            assert (done.exit_code, done.stdout) == (3, b"said\n")
            assert done.stderr.endswith(b"why\n")  # a login shell may have said more


def test_key_from_a_real_agent(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = tmp_path / "agent.sock"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            time.sleep(0.02)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run(["ssh-add", "-q", str(sshd.key)], check=True, capture_output=True)
        config = tmp_path / "config"
        config.write_text("Host *\n  IdentityFile /nonexistent\n")
        with Session(
            device(sshd, tmp_path, identity_file=None, ssh_config=str(config)), "test"
        ) as session:
            assert session.transport.run(["echo", "hello"]).stdout == b"hello\n"
    finally:
        agent.terminate()
        agent.wait(10)


@pytest.mark.parametrize("where", ["environment", "configuration"])
def test_an_encrypted_key_in_an_agent_with_identities_only(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """The key's file name carries tokens; the agent holds it and another one."""
    locked = tmp_path / f"id_{sshd.user}_board"
    for path in (locked, tmp_path / "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    with open(sshd.folder / "authorized_keys", "a") as file:
        file.write(locked.with_name(locked.name + ".pub").read_text())
    socket = tmp_path / "agent.sock"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            time.sleep(0.02)
        env = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        keys = [str(tmp_path / "other"), str(locked)]
        subprocess.run(["ssh-add", "-q", *keys], check=True, capture_output=True, env=env)
        subprocess.run(
            ["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(locked)], check=True
        )
        if where == "environment":
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
            line = ""
        else:
            monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
            line = f"  IdentityAgent {socket}\n"
        config = tmp_path / "config"
        config.write_text(
            f"Host board\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n"
            f"  IdentityFile {tmp_path}/id_%r_%n\n  IdentitiesOnly yes\n{line}"
            f"  UserKnownHostsFile {sshd.known_hosts}\n"
        )
        board = device(
            sshd, tmp_path, host="board", port=None, user=None, identity_file=None,
            known_hosts=None, ssh_config=str(config),
        )  # fmt: skip
        with Session(board, "test") as session:
            assert session.transport.run(["echo", "hello"]).stdout == b"hello\n"
    finally:
        agent.terminate()
        agent.wait(10)


def test_alias_of_the_ssh_configuration(sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    (tmp_path / "included").write_text(f"Host bench-*\n  IdentityFile {sshd.key}\n")
    config.write_text(
        f"""Include {tmp_path}/included
Host bench-board
  HostName 127.0.0.1
  Port {sshd.port}
  User {sshd.user}
  UserKnownHostsFile {sshd.known_hosts}
"""
    )
    alias = device(
        sshd, tmp_path, host="bench-board", port=None, user=None, identity_file=None,
        known_hosts=None, ssh_config=str(config),
    )  # fmt: skip
    with Session(alias, "test") as session:
        assert session.transport.run(["echo", "hello"]).stdout == b"hello\n"


def test_proxy_jump(sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(
        f"""Host jump behind
  HostName 127.0.0.1
  Port {sshd.port}
  User {sshd.user}
  IdentityFile {sshd.key}
  UserKnownHostsFile {sshd.known_hosts}
Host behind
  ProxyJump jump
"""
    )
    behind = device(
        sshd, tmp_path, host="behind", port=None, user=None, identity_file=None,
        known_hosts=None, ssh_config=str(config),
    )  # fmt: skip
    with Session(behind, "test") as session:
        assert session.transport.run(["echo", "hello"]).stdout == b"hello\n"
    assert isinstance(session.transport, SshTransport) and session.transport.target.proxy


def test_nobody_answers(sshd: Sshd, tmp_path: Path) -> None:
    gone = device(sshd, tmp_path)
    sshd.stop()
    with pytest.raises(UnreachableError, match="no ssh answer") as caught, Session(gone, "test"):
        pass
    assert caught.value.transient and caught.value.message.endswith(": Connection refused")
    shown = f"ssh -p {sshd.port} -i {sshd.key} {sshd.user}@127.0.0.1 true"
    assert str(caught.value.hint).endswith(f"try: {shown}")


def test_an_alias_is_tried_as_an_alias(sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host pi\n  HostName 127.0.0.1\n  Port 1\n  User someone\n")
    own = {"port": None, "user": None, "identity_file": None}
    gone = device(sshd, tmp_path, host="pi", ssh_config=str(config), **own)
    with pytest.raises(UnreachableError, match="port 1: Connection refused") as caught:
        SshTransport(gone).open()
    assert str(caught.value.hint).endswith(f"try: ssh -F {config} pi true")


@pytest.mark.parametrize("name", ["a b", "$(touch /tmp/owned)", "quo'te", 'dou"ble', "naïve", "-x",
                                  "new\nline"])  # fmt: skip
def test_arguments_are_never_code(sshd: Sshd, tmp_path: Path, name: str) -> None:
    with Session(device(sshd, tmp_path), "test") as session:
        done = session.transport.run(["printf", "%s", name])
        assert done.stdout.decode() == name


def test_no_python_on_the_device(sshd: Sshd, tmp_path: Path) -> None:
    """Files can be pushed all the same: the store needs only a shell."""
    with Session(device(sshd, tmp_path, python="/nonexistent/python3"), "test") as session:
        session.push([big_file(tmp_path, 1)], lambda *seen: None)
        with pytest.raises(AgentSetupError, match="cannot start /nonexistent/python3"):
            session.ask({"action": "probe"}, lambda *_: None, purpose=Stage.START, silence=30)


def test_link_cut_leaves_no_agent_behind(
    sshd: Sshd, tmp_path: Path, digits: dict[str, Path]
) -> None:
    model, samples = blob(digits["float32"]), blob(digits["samples"])
    with Session(device(sshd, tmp_path), "test") as session:
        session.push([model, samples], lambda *seen: None)
        request = {
            "action": "latency", "model": {"path": session.path(model)},
            "samples": {"path": session.path(samples)}, "min_seconds": 60.0, "warmup_seconds": 0.0,
        }  # fmt: skip
        threading.Timer(1.5, sshd.cut).start()
        with pytest.raises(LinkLostError):
            session.ask(request, lambda *seen: None, purpose=Stage.LATENCY, silence=30)
        assert session.stage is Stage.LATENCY
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and _agents(session.path(model)):
            time.sleep(0.1)
        assert _agents(str(sshd.folder)) == []


def _agents(mark: str) -> list[str]:
    listed = subprocess.run(["ps", "-eo", "args="], capture_output=True, text=True, check=True)
    return [line for line in listed.stdout.splitlines() if mark in line and "/blobs/" in line]


def test_full_disk_on_the_device(sshd: Sshd, tmp_path: Path) -> None:
    tiny = os.environ.get("HARNESS_TINY_DISK")
    if not tiny or not os.access(tiny, os.W_OK):
        needed("HARNESS_TINY_DISK does not name a small disk that can be written")
    work = Path(tiny) / f"device-{os.getpid()}"
    with Session(device(sshd, tmp_path, work_dir=str(work)), "test") as session:
        with pytest.raises(DeviceFullError, match="free in"):
            session.push([big_file(tmp_path, 30)], lambda *seen: None)


def test_hello_and_versions_over_the_link(sshd: Sshd, tmp_path: Path) -> None:
    with Session(device(sshd, tmp_path), "test") as session:
        session.push([], lambda *seen: None)
        answer = session.ask(
            {"action": "probe"}, lambda *seen: None, purpose=Stage.START, silence=30
        )
    assert answer.hello["runtime"]["name"] == "ai_edge_litert"
    assert json.dumps(answer.hello)
