"""Where an adb server is, what may answer in its place, and who is who."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path

import pytest

from harness.errors import (
    ConfigError,
    LinkLostError,
    ProtocolError,
    TransportError,
    UnreachableError,
    UsageError,
)
from harness.transports.adb import AdbTransport
from harness.transports.adb_server import ServerAddress, server_address
from tests.support.adb import Adb, adb_device, start_adb, start_android


def test_no_server(tmp_path: Path) -> None:
    with start_adb(tmp_path / "home") as adb, start_android(adb.key) as target:
        device = adb.by_server(target)
        link = AdbTransport(device)
        link.open()
        adb.stop()
        with pytest.raises(LinkLostError):
            link.run(["true"])
        with pytest.raises(UnreachableError, match="no adb server answers") as caught:
            link.open()
        assert "adb start-server" in str(caught.value)
        with pytest.raises(UnreachableError):
            adb.devices()


SERVERS = {
    "tcp:10.0.0.7:5099": ServerAddress("10.0.0.7", 5099),
    "tcp:5099": ServerAddress("127.0.0.1", 5099),
    "lab:5099": ServerAddress("lab", 5099),
    "tcp:[::1]:5099": ServerAddress("::1", 5099),
    "localfilesystem:/run/adb": ServerAddress(path="/run/adb"),
    "localabstract:adb": ServerAddress(path="\0adb"),
}


@pytest.mark.parametrize("text", SERVERS)
def test_where_the_server_is(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADB_SERVER_SOCKET", "ANDROID_ADB_SERVER_ADDRESS", "ANDROID_ADB_SERVER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert server_address() == ServerAddress("127.0.0.1", 5037)
    assert server_address(text) == SERVERS[text]
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "5100")
    assert server_address() == ServerAddress("127.0.0.1", 5100)
    monkeypatch.setenv("ADB_SERVER_SOCKET", text)
    assert server_address() == SERVERS[text]
    monkeypatch.setenv("ADB_SERVER_SOCKET", "tcp:host:99999")
    with pytest.raises(UsageError, match="no address of an adb server"):
        server_address()


def test_who_is_who() -> None:
    assert AdbTransport(adb_device(serial="R58M", adb_server="127.0.0.1:1")).address == "adb:R58M"
    far = AdbTransport(adb_device(serial="emulator-5554", adb_server="10.0.0.7:5037"))
    assert far.address == "adb:10.0.0.7:5037/emulator-5554" and not far.runs_on_host
    near = AdbTransport(adb_device(serial="emulator-5554", adb_server="127.0.0.1:1"))
    assert near.runs_on_host
    direct = AdbTransport(adb_device(host="192.168.1.9"))
    tcp = AdbTransport(adb_device(serial="192.168.1.9:5555", adb_server="127.0.0.1:1"))
    assert direct.address == tcp.address == "adb:192.168.1.9:5555"
    assert not direct.runs_on_host and not tcp.runs_on_host
    assert direct.work_dir == "/data/local/tmp/edge-harness" and direct.python == "python3"


def answering(*answers: bytes) -> tuple[int, threading.Thread]:
    """A server on the loopback interface that gives one answer to each connection."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with listener:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listener.getsockname()[1], thread


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        ([b"SSH-2.0-OpenSSH_9.2"], ProtocolError, "would not answer"),
        ([b"OKAYzzzz"], ProtocolError, "would not answer"),
        ([b""], UnreachableError, "gives no answer"),
        ([b"FAIL0007no\x1b[31m!"], TransportError, r"no.\[31m"),
        ([b"OKAY0000", b"OKAY0018S1\tno permissions (udev)\n"], TransportError, "udev rules"),
        ([b"OKAY0000", b"OKAY000FS1\tbootloader\n"], UnreachableError, "state bootloader"),
    ],
    ids=["ssh", "size", "silent", "escape", "udev", "state"],
)
def test_what_servers_may_say(answers: list[bytes], error: type[Exception], words: str) -> None:
    if answers[-1].startswith(b"OKAY00"):
        body = answers[-1][8:]
        answers = [*answers[:-1], b"OKAY%04x" % len(body) + body]
    port, thread = answering(*answers)
    with pytest.raises(error) as caught:
        AdbTransport(adb_device(adb_server=f"127.0.0.1:{port}", serial="S1")).open()
    assert re.search(words, str(caught.value)) and "\x1b" not in str(caught.value)
    thread.join(5)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", "is no adbd"),
        (b"", "says nothing"),
        (b"WRTE" + bytes(8) + b"\xff" * 4 + bytes(4) + bytes(b ^ 255 for b in b"WRTE"), "no adbd"),
        (b"STLS" + bytes(16) + bytes(b ^ 255 for b in b"STLS"), "wireless debugging"),
    ],
    ids=["ssh", "silent", "huge", "tls"],
)
def test_what_may_listen_where_a_device_should(adb: Adb, answer: bytes, words: str) -> None:
    port, thread = answering(answer)
    with pytest.raises(UnreachableError, match=words):
        AdbTransport(adb_device(host="127.0.0.1", port=port, adb_key=str(adb.key))).open()
    thread.join(5)


def test_profiles_are_for_one_way(tmp_path: Path) -> None:
    from harness.config.suites import load_suite
    from harness.orchestrate.environment import known_names
    from tests.support import write_suite

    both = '\n[device.phone]\ntransport = "adb"\nhost = "10.0.0.9"\nserial = "R58M"\n'
    path = write_suite(tmp_path / "suite.toml", devices=["phone"], device=both)
    with pytest.raises(ConfigError, match="not both"):
        load_suite(path, known_names())
