"""Pushes over ssh: resumed, bounded, verified; nothing that a device says is trusted."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.suites import load_suite
from harness.devices.blobs import Blob, BlobStore
from harness.devices.cleaning import clean
from harness.devices.session import Session
from harness.devices.store_reply import parse
from harness.domain import Device, Stage
from harness.errors import (
    AgentSetupError,
    AgentTimeoutError,
    DeviceFullError,
    HarnessError,
    LinkLostError,
    ProtocolError,
    PushError,
    TransportError,
)
from harness.orchestrate.environment import known_names
from harness.transports import TRANSPORTS
from harness.transports.gain import Gain
from harness.transports.ssh import SshTransport
from tests.integration.test_ssh import blob, device
from tests.support import needed, write_suite
from tests.support.relay import Relay, relay
from tests.support.sshd import Sshd, start_sshd


@pytest.fixture
def between(sshd: Sshd) -> Iterator[Relay]:
    """A relay in front of the server."""
    with relay(sshd.port) as found:
        key = (sshd.folder / "host_key.pub").read_text().split()
        with open(sshd.known_hosts, "a") as file:
            file.write(f"[127.0.0.1]:{found.port} {key[0]} {key[1]}\n")
        yield found


def noise(path: Path, size: int) -> Blob:
    path.write_bytes(random.Random(size).randbytes(size))
    return blob(path)


def nothing(*_: object) -> None:
    pass


def test_a_cut_push_goes_on_where_it_was(sshd: Sshd, between: Relay, tmp_path: Path) -> None:
    file = noise(tmp_path / "file", 20_000_000)
    board = device(sshd, tmp_path, port=between.port)
    with Session(board, "test") as session:
        session.push([], nothing)
        between.cut_after = 12_000_000
        with pytest.raises(LinkLostError) as caught:
            session.push([file], nothing)
        assert caught.value.transient and between.cuts == 1
        assert not Path(session.path(file)).exists()
    # Another process of this host goes on as well.
    with Session(board, "test") as session:
        before = between.up
        sent = session.push([file], nothing)
        assert sent < 12_000_000 and between.up - before < sent + 200_000
        assert Path(session.path(file)).read_bytes() == file.path.read_bytes()


@pytest.mark.parametrize("at", [100, 1_500, 3_000, 8_000, 30_000, 60_000, 400_000])
def test_cut_at_every_stage(sshd: Sshd, between: Relay, tmp_path: Path, at: int) -> None:
    """In the handshake, while the store is looked at, in small files, in the large one."""
    files = [noise(tmp_path / f"f{size}", size) for size in (10, 5_000, 40_000, 600_000)]
    board = device(sshd, tmp_path, port=between.port)
    between.cut_after = at
    session = Session(board, "test")
    try:
        with session:
            session.push(files, nothing)
        raise AssertionError("the link was to be cut")
    except TransportError as error:
        assert error.transient, error
    assert between.cuts == 1
    with Session(board, "test") as session:
        session.push(files, nothing)
        for file in files:
            assert Path(session.path(file)).read_bytes() == file.path.read_bytes()
        assert session.push(files, nothing) == 0


def test_a_repeated_push_takes_no_bytes_and_three_round_trips(
    sshd: Sshd, between: Relay, tmp_path: Path
) -> None:
    file = noise(tmp_path / "file", 3_000_000)
    board = device(sshd, tmp_path, port=between.port)
    with Session(board, "test") as session:
        session.push([file], nothing)
    with Session(board, "test") as session:
        session.transport.run(["sh", "-c", "", "x"])  # the connection is made
        up, turns = between.up, between.turns
        assert session.push([file], nothing) == 0
        assert between.turns - turns <= 3
        assert between.up - up < 20_000


def test_what_packs_well_is_packed(sshd: Sshd, between: Relay, tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"".join(b"%d, " % n for n in range(400_000)))
    file = blob(path)
    with Session(device(sshd, tmp_path, port=between.port), "test") as session:
        assert isinstance(session.transport, SshTransport)
        session.transport._helper.wire.rate = 1e6  # as a slow link was seen to carry
        session.push([], nothing)
        before = between.up
        assert session.push([file], nothing) == file.size
        assert between.up - before < file.size * 0.6
        assert Path(session.path(file)).read_bytes() == path.read_bytes()


def test_packing_pays_on_slow_links_only(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"".join(b"%d, " % n for n in range(200_000)))
    noise(tmp_path / "noise", 1_000_000)
    assert Gain(tmp_path / "text", 0).pays(1e6) and not Gain(tmp_path / "text", 0).pays(200e6)
    assert not Gain(tmp_path / "noise", 0).pays(1e5)


ODD = ("a b", "quo'te \"s", "$(touch owned)", "naïve", "-rf", "new\nline\n", "back\\slash")


@pytest.mark.parametrize("name", ODD)
def test_odd_work_folders(sshd: Sshd, tmp_path: Path, name: str) -> None:
    files = [noise(tmp_path / f"f{size}", size) for size in (10, 2_000_000)]
    plain = device(sshd, tmp_path)
    board = replace(plain, link={**plain.link, "work_dir": f"{sshd.folder}/{name}"})
    with Session(board, "test") as session:
        session.push(files, nothing)
        for file in files:
            assert Path(session.path(file)).read_bytes() == file.path.read_bytes()
        assert Path(session.path(files[0])).parts[-3] == name
        answer = session.ask({"action": "probe"}, nothing, purpose=Stage.START, silence=60)
    assert answer.hello["runtime"] and not list(Path.home().glob("owned"))


def test_the_oldest_go_where_the_bound_asks_for_it(sshd: Sshd, tmp_path: Path) -> None:
    one, two, three = (noise(tmp_path / f"f{n}", 600_000 + n) for n in range(3))
    board = device(sshd, tmp_path, work_dir_mb=2)
    with Session(board, "test") as session:
        session.push([one], nothing)
        session.push([two], nothing)
    with Session(board, "test") as session:
        session.push([one], nothing)
        os.utime(session.path(one), (5e8, 5e8))  # in use all the same
        os.utime(session.path(two), (6e8, 6e8))
        session.push([three], nothing)
        assert Path(session.path(one)).exists() and Path(session.path(three)).exists()
        assert session.push([noise(tmp_path / "f9", 500_000)], nothing) == 500_000
        assert not Path(session.path(two)).exists()
        with pytest.raises(DeviceFullError, match="work_dir_mb"):
            session.push([two], nothing)


def test_a_disk_that_fills_in_mid_push(sshd: Sshd, tmp_path: Path) -> None:
    tiny = os.environ.get("HARNESS_TINY_DISK")
    if not tiny or not os.access(tiny, os.W_OK):
        needed("HARNESS_TINY_DISK does not name a small disk that can be written")
    work = Path(tiny) / f"push-{os.getpid()}"
    ballast = Path(tiny) / f"ballast-{os.getpid()}"
    try:
        with Session(device(sshd, tmp_path, work_dir=str(work)), "test") as session:
            session.push([], nothing)
            free = os.statvfs(tiny).f_bavail * os.statvfs(tiny).f_frsize
            file = noise(tmp_path / "file", free - 5_000_000)

            def fill(_sent: int, _total: int) -> None:
                if not ballast.exists():
                    ballast.write_bytes(bytes(5_500_000))

            with pytest.raises(DeviceFullError, match="no space left"):
                session.push([file], fill)
            # What came of it does not keep out what fits.
            assert not list((work / "parts").iterdir())
            assert session.push([noise(tmp_path / "small", 1000)], nothing) == 1000
            ballast.unlink()
            assert session.push([file], nothing) > 0
    finally:
        ballast.unlink(missing_ok=True)
        subprocess.run(["rm", "-rf", str(work)], check=True)


def test_a_full_disk_can_be_cleaned(sshd: Sshd, tmp_path: Path) -> None:
    """Where there is no room for a lease either."""
    tiny = os.environ.get("HARNESS_TINY_DISK")
    if not tiny or not os.access(tiny, os.W_OK):
        needed("HARNESS_TINY_DISK does not name a small disk that can be written")
    folder = Path(tiny) / f"clean-{os.getpid()}"
    folder.mkdir()
    ballast = Path(tiny) / f"ballast-{os.getpid()}"
    board = device(sshd, tmp_path, work_dir=f"{folder}/work", lease_dir=str(folder))
    try:
        with Session(board, "test") as session:
            session.push([noise(tmp_path / "file", 300_000)], nothing)
        shutil.rmtree(folder / "edge-harness-lease")
        with pytest.raises(OSError), open(ballast, "wb", buffering=0) as file:
            while True:
                file.write(bytes(1 << 12))
        with pytest.raises(DeviceFullError, match="lease") as caught, Session(board, "test"):
            pass
        assert "harness devices clean" in str(caught.value.hint)
        assert clean(board, "test").files > 0
    finally:
        ballast.unlink(missing_ok=True)
        subprocess.run(["rm", "-rf", str(folder)], check=True)


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_a_device_that_vanishes_without_a_word(
    sshd: Sshd, between: Relay, tmp_path: Path, how: str
) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n  ServerAliveInterval 1\n  ServerAliveCountMax 2\n")
    board = device(sshd, tmp_path, port=between.port, ssh_config=str(config))
    stopped: list[int] = []
    try:
        with Session(board, "test") as session:
            session.push([], nothing)
            if how == "stopped":
                stopped = sshd.sessions()
                for pid in stopped:
                    os.kill(pid, signal.SIGSTOP)
            else:
                between.frozen.set()
            with pytest.raises(LinkLostError):
                session.transport.run(["sleep", "3600"], timeout=100)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)


@pytest.mark.slow
def test_a_quiet_link_stays(sshd: Sshd, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host *\n  ServerAliveInterval 1\n  ServerAliveCountMax 3\n")
    with Session(device(sshd, tmp_path, ssh_config=str(config)), "test") as session:
        assert session.transport.run(["sleep", "5"]).exit_code == 0


def few_sessions(sshd: Sshd, count: int) -> None:
    config = sshd.folder / "config"
    config.write_text(config.read_text().replace("MaxSessions 50", f"MaxSessions {count}"))
    sshd.stop()
    sshd.restart()


def test_a_server_that_allows_few_sessions(sshd: Sshd, tmp_path: Path) -> None:
    """One for the lease and what the session asks of the device's shell, one for the agent."""
    few_sessions(sshd, 2)
    with Session(device(sshd, tmp_path), "test") as session:
        session.push([noise(tmp_path / "file", 100_000)], nothing)
        for _ in range(3):
            answer = session.ask(
                {"action": "probe"}, lambda *_: None, purpose=Stage.START, silence=30
            )
            session.verify()
        assert answer.hello["agent"] == "python"


def test_a_server_that_allows_too_few_sessions(sshd: Sshd, tmp_path: Path) -> None:
    few_sessions(sshd, 1)
    with Session(device(sshd, tmp_path), "test") as session:
        session.push([noise(tmp_path / "file", 100_000)], nothing)
        with pytest.raises(TransportError, match="no further session") as caught:
            session.ask({"action": "probe"}, lambda *_: None, purpose=Stage.START, silence=30)
        assert not caught.value.transient and "MaxSessions" in (caught.value.hint or "")


def test_one_login_shell_for_a_session(sshd: Sshd, tmp_path: Path) -> None:
    """The lease, scripts and files of several pushes share it."""
    board = device(sshd, tmp_path)
    with Session(board, "test") as session:
        for size in (10, 300_000, 20):
            session.push([noise(tmp_path / f"f{size}", size)], nothing)
            session.verify()
        children = subprocess.run(
            ["ps", "--ppid", ",".join(map(str, sshd.sessions())), "-o", "args="],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert children.count("sh -c") == children.count("# Stands ready on the device") == 1
        # What cannot be written ends neither that shell nor the lease.
        more = noise(tmp_path / "more", 100)
        (Path(session.path(more)).parents[1] / f"parts/{more.sha256}.{token(session)}").mkdir()
        with pytest.raises(PushError, match="cannot write more on the device"):
            session.push([more], nothing)
        session.verify()
        session.push([noise(tmp_path / "other", 200_000)], nothing)
        # Nor does a script that hangs, or says too much.
        for text, error in (("sleep 60", AgentTimeoutError), ("yes", ProtocolError)):
            with pytest.raises(error):
                session.transport.run(["sh", "-c", text, "name"], timeout=2)
            session.verify()
        assert session.transport.run(["sh", "-c", "echo on", "name"]).stdout == b"on\n"
        assert session.stands


def token(session: Session) -> str:
    return session._blobs._token()


def test_a_jump_through_a_second_server(sshd: Sshd, tmp_path: Path) -> None:
    with start_sshd(tmp_path / "jump") as jump:
        config = tmp_path / "config"
        config.write_text(
            f"""Host jump
  HostName 127.0.0.1
  Port {jump.port}
  User {jump.user}
  IdentityFile {jump.key}
  UserKnownHostsFile {jump.known_hosts}
Host behind
  HostName 127.0.0.1
  Port {sshd.port}
  User {sshd.user}
  IdentityFile {sshd.key}
  UserKnownHostsFile {sshd.known_hosts}
  ProxyJump jump
"""
        )
        behind = device(
            sshd, tmp_path, host="behind", port=None, user=None, identity_file=None,
            known_hosts=None, ssh_config=str(config),
        )  # fmt: skip
        file = noise(tmp_path / "file", 2_000_000)
        with Session(behind, "test") as session:
            session.push([file], nothing)
            assert jump.sessions()
            jump.cut()
            with pytest.raises(LinkLostError):
                session.transport.run(["sleep", "60"])
            session.reconnect()
            assert session.push([file], nothing) == 0


def force(sshd: Sshd, script: str) -> None:
    """From now on each command of the device is this script; ``$SSH_ORIGINAL_COMMAND`` has it."""
    path = sshd.folder / "forced"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    key = (sshd.folder / "user_key.pub").read_text()
    (sshd.folder / "authorized_keys").write_text(f'command="{path}" {key}')


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("yes", ProtocolError),
        ("yes >&2", HarnessError),
        ("printf 'edge-harness-store 1\\nroot /x\\n'; head -c 9000000 /dev/zero", ProtocolError),
        ("printf '\\033]0;owned\\007'; printf '\\033[2J' >&2; exit 1", HarnessError),
        ("echo 'there is no login here'; exit 1", AgentSetupError),
        ("kill -9 $$", LinkLostError),
        ("head -c 100 /dev/urandom", HarnessError),
        ("echo ready many gzip; read -r _ mark _; echo $mark 0; exec yes $mark", HarnessError),
        ("printf 'edge-harness-store 1\\nfree_kb 999999999999999999\\nroot /x\\nend\\n'",
         ProtocolError),
    ],
)  # fmt: skip
def test_hostile_devices(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str,
    error: type[HarnessError],
) -> None:  # fmt: skip
    monkeypatch.setattr("harness.devices.blobs.STORE_TIMEOUT", 4)
    monkeypatch.setattr("harness.devices.lease._ANSWER", 4)
    board = device(sshd, tmp_path)
    force(sshd, script)
    link = TRANSPORTS["ssh"](board)
    link.open()
    with pytest.raises(error) as caught:
        BlobStore(link, board.name, 1 << 30).push([noise(tmp_path / "file", 100_000)], nothing)
    link.close()
    with pytest.raises(HarnessError) as refused:
        Session(board, "test").__enter__()
    for said in (str(caught.value), str(refused.value)):
        assert "\x1b" not in said and len(said) < 2000


def test_a_login_shell_that_talks_is_understood(sshd: Sshd, tmp_path: Path) -> None:
    force(sshd, 'echo "welcome to this board"; echo ready or not; eval "$SSH_ORIGINAL_COMMAND"')
    file = noise(tmp_path / "file", 3_000_000)
    with Session(device(sshd, tmp_path), "test") as session:
        session.push([file], nothing)
        assert session.push([file], nothing) == 0
        session.transport.get(session.path(file), tmp_path / "back", limit=file.size)
    assert (tmp_path / "back").read_bytes() == file.path.read_bytes()


@pytest.mark.parametrize(
    "answer",
    [b"", b"edge-harness-store 1\n", b"edge-harness-store 1\nroot /x\n",
     b"edge-harness-store 1\nroot x\nend\n", b"edge-harness-store 1\nhas zzz\nroot /x\nend\n",
     b"edge-harness-store 1\nroot /x\0\nend\n", b"edge-harness-store 1\nroot /\xff\nend\n",
     b"edge-harness-store 1\nroot /" + b"x" * 5000 + b"\nend\n",
     b"edge-harness-store 1\nfree_kb -5\nroot /x\nend\n"],
)  # fmt: skip
def test_answers_of_a_store_that_are_none(answer: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse(answer, "board")


def test_clean_over_ssh_by_command(sshd: Sshd, tmp_path: Path) -> None:
    path = write_suite(tmp_path / "s.toml", devices=["board"], device=sshd.device("board"))
    file = noise(tmp_path / "file", 1_000_000)
    board: Device = load_suite(path, known_names()).devices[0]
    command = [sys.executable, "-c", "from harness.cli import main; main()", "devices", "clean",
               "board", "--suite", str(path)]  # fmt: skip
    with Session(board, "a session of a test") as session:
        session.push([file], nothing)
        busy = subprocess.run(command, capture_output=True, text=True, check=False)
        assert busy.returncode == 3 and "a session of a test" in busy.stderr
        assert Path(session.path(file)).exists()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("board: 2 files, 1,") and "bytes freed in " in done.stdout
    assert not Path(session.path(file)).exists()
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "0 files, 0 bytes" in again.stdout
