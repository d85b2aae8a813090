"""What old and hostile phones may not do to the adb link, and what it may not do to them."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.cache import file_sha256
from harness.devices.blobs import Blob
from harness.devices.readiness import Readiness
from harness.devices.session import Session
from harness.devices.state import read_state
from harness.domain import Device, Policy, Stage
from harness.errors import (
    AgentTimeoutError,
    LinkLostError,
    ProtocolError,
    PullError,
    PushError,
    TransportError,
)
from harness.transports import adb_direct, adb_sync
from harness.transports.adb import AdbTransport
from harness.transports.adb_command import READ, READ_COMMAND, PlainCommand, as_line
from harness.transports.adb_devices import ServerLink
from harness.transports.quoting import command_line
from harness.transports.scripts import script
from harness.transports.transport import Upload
from tests.support.adb import HOSTILE, Adb, Opened, adb_device, start_adb, start_android
from tests.support.lease import SHELLS

SMALL = [{"max_payload": 4096}, {"max_payload": 4096, "checksums": True, "features": False}]


@pytest.mark.slow
@pytest.mark.parametrize("small", SMALL, ids=["shell protocol", "before Android 7"])
def test_small_packets_beside_another_phone(
    small: dict[str, Any], opened: Opened, tmp_path: Path
) -> None:
    """A request that is longer than a device's packets would end the server of all devices."""
    with (
        start_adb(tmp_path / "home") as adb,
        start_android(adb.key) as bystander,
        start_android(adb.key, **small) as target,
    ):
        witness = opened(adb.by_server(bystander)).start(["cat"])
        files = []
        for number in range(100):  # enough for their names to be a long command
            path = tmp_path / str(number)
            path.write_bytes(os.urandom(5000))
            files.append(Blob(path, file_sha256(path), 5000, str(number)))
        for device in (adb.by_server(target), adb.directly(target)):
            with Session(device, "test") as session:
                assert session.push(files, lambda *seen: None) > 500_000
                assert session.push(files, lambda *seen: None) == 0
                readiness = Readiness(session.transport, Policy(governor="performance"))
                readiness.open()
                assert "may not set it" in readiness.wait(lambda *_: None, bool).missed[0][1]
                readiness.close()
                request = {"action": "probe"}
                answer = session.ask(request, lambda *_: None, purpose=Stage.START, silence=30)
                assert answer.hello["platform"]["system"] == "Linux"
                session.verify()
                assert read_state(session.transport, session.transport.work_dir).clock
                assert len(session.clean().gone) > 100
        assert adb.process.poll() is None
        witness.send(b"untouched\n")
        assert witness.read_line(10) == b"untouched\n"
        witness.kill()


@pytest.mark.parametrize("small", SMALL, ids=["shell protocol", "before Android 7"])
def test_commands_that_are_longer_than_a_packet(
    small: dict[str, Any], way: Callable[..., Device], adb: Adb, opened: Opened
) -> None:
    words = [*HOSTILE, "\\n%s\\\\c\\0101", "x" * 9000, ""]
    echo = ["sh", "-c", f"# {'long' * 1000}\ncat; printf '%s|' \"$@\"; exit 3", "name", *words]
    with start_android(adb.key, **small) as target:
        link = opened(way(target))
        for data in (b"", b"\0 \n\\ with no end", os.urandom(100_000)):
            done = link.run(echo, stdin=data)
            assert done.stdout == data + "".join(f"{word}|" for word in words).encode()
            assert done.exit_code == 3
        process = link.start(["sh", "-c", f"# {'long' * 1000}\nread a; echo got $a; exit 3"])
        process.send(b"this\n")
        assert (process.read_line(10), process.read_line(10)) == (b"got this\n", b"")
        assert process.wait(10) == 3
        process.kill()
        with pytest.raises(TransportError, match="is longer than the device takes") as caught:
            link._link.stream(b"exec:" + b" " * 4091)
        assert not caught.value.transient and caught.value.message.startswith("phone: ")
        link._link.stream(b"exec:" + b" " * 4090).close()
        assert link.run(["true"]).exit_code == 0


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_a_command_on_stdin_leaves_the_rest_of_it(shell: list[str]) -> None:
    command = b"exec printf '<%s>' '\\0101 \\\\ \\c\n\"' \"$(cat)\""
    done = subprocess.run(
        [*shell, "-c", READ + READ_COMMAND], input=as_line(command) + b"the\nrest",
        capture_output=True, check=True,
    )  # fmt: skip
    assert done.stdout == b'<\\0101 \\\\ \\c\n"><the\nrest>'


def test_what_is_asked_between_two_trials_needs_no_second_packet() -> None:
    command = command_line(["sh", "-c", script("state.sh"), "state.sh"]).encode()
    service = PlainCommand.service(command, token=bytes(16), input_bytes=0)
    assert len(service) <= ServerLink.longest_service


def packet(command: bytes, arg0: int, arg1: int, data: bytes = b"") -> bytes:
    complement = bytes(byte ^ 255 for byte in command)
    return struct.pack("<4s4I4s", command, arg0, arg1, len(data), sum(data), complement) + data


SHELL_HEAD = struct.Struct("<BI")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (packet(b"WRTE", 7, 1, SHELL_HEAD.pack(9, 5) + b"wrong"), "broke the shell protocol"),
        (packet(b"WRTE", 7, 1, SHELL_HEAD.pack(3, 1 << 31)), "broke the shell protocol"),
        (
            packet(b"WRTE", 7, 1, SHELL_HEAD.pack(1, 1 << 31))
            + packet(b"WRTE", 7, 1, bytes(1 << 20)) * 9,
            "more than was asked for",
        ),
        (b"\xff" * 24, "no packet of adb"),
        (packet(b"WRTE", 7, 1, SHELL_HEAD.pack(1, 1 << 31) + b"x"), "cut"),
        (packet(b"CLSE", 7, 1), "cut"),
    ],
    ids=["kind", "exit", "flood", "noise", "length", "end"],
)
def test_hostile_devices(adb: Adb, opened: Opened, answer: bytes, words: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                answer_one(listener.accept()[0])

    def answer_one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            banner = b"device::features=shell_v2,cmd\0"
            connection.sendall(packet(b"CNXN", 0x01000001, 1 << 20, banner))
            connection.recv(65536)
            connection.sendall(packet(b"OKAY", 7, 1) + answer)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    device = adb_device(host="127.0.0.1", port=listener.getsockname()[1], adb_key=str(adb.key))

    def start_and_read(link: AdbTransport) -> None:
        process = link.start(["true"])
        assert isinstance(link._link, adb_direct.DirectLink) and link._link._reader
        link._link._reader.join(20)  # everything has come, and nothing of it was asked for
        process.read_line(20)

    acts = [start_and_read, lambda link: link.run(["true"], timeout=20)]
    for act in acts[: 1 if "asked" in words else 2]:
        link = opened(device)
        with pytest.raises((ProtocolError, LinkLostError), match=words) as caught:
            act(link)
        link.close()
        assert caught.value.message.startswith("phone: ")
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@contextlib.contextmanager
def flooding(adb: Adb, data: bytes) -> Iterator[Device]:
    """A device that answers whatever is asked for with these bytes, for ever."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                answer(listener.accept()[0])

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, struct.error):
            while True:
                command, theirs, size = struct.unpack("<4sI4xI8x", connection.recv(24))
                connection.recv(size, socket.MSG_WAITALL)
                if command == b"CNXN":
                    banner = b"device::features=shell_v2\0"
                    connection.sendall(packet(b"CNXN", 0x01000001, 1 << 20, banner))
                if command in (b"OPEN", b"WRTE"):
                    connection.sendall(packet(b"OKAY", 7, theirs))
                if command in (b"OPEN", b"OKAY"):
                    connection.sendall(packet(b"WRTE", 7, theirs, data))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    port = listener.getsockname()[1]
    yield adb_device(host="127.0.0.1", port=port, adb_key=str(adb.key))
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(5)


@pytest.mark.parametrize(
    "data", [SHELL_HEAD.pack(1, 0), SHELL_HEAD.pack(2, 0), SHELL_HEAD.pack(2, 1) + b"x"]
)
def test_nobody_waits_for_a_device_that_says_nothing_for_ever(
    data: bytes, adb: Adb, opened: Opened
) -> None:
    with flooding(adb, data * 5000) as device:
        link = opened(device)
        for act in (
            lambda: link.start(["true"]).read_line(0.3),
            lambda: link.run(["true"], timeout=0.3),
        ):
            with pytest.raises(AgentTimeoutError):
                act()
        began = time.monotonic()
        process = link.start(["true"])
        assert process.wait(0.3) is None
        process.stderr_tail()
        process.kill()
        assert time.monotonic() - began < 10
        link.close()


def test_files_that_never_end(
    adb: Adb, opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with flooding(adb, (b"DATA" + bytes(4)) * 1000) as device:
        link = opened(device)
        with pytest.raises(ProtocolError, match="without a byte"):
            link.get("/x", tmp_path / "x", limit=1 << 30)
        link.close()
    monkeypatch.setattr(adb_sync, "ANSWER_TIMEOUT", 0.2)
    monkeypatch.setattr(adb_sync, "_SLOWEST", 1 << 20)
    with flooding(adb, struct.pack("<4sI", b"DATA", 1) + b"x") as device:
        link = opened(device)
        with pytest.raises(LinkLostError, match="gives no answer"):
            link.get("/x", tmp_path / "x", limit=1 << 30)
        link.close()


def test_failures_of_this_machines_files_are_none_of_the_link(
    link: AdbTransport, tmp_path: Path
) -> None:
    remote = "/data/local/tmp/one byte"
    (tmp_path / "x").write_bytes(b"x")
    link.put([Upload(tmp_path / "x", remote)], lambda n: None)
    full, away = Path("/dev/full"), tmp_path / "no" / "folder"
    for local, why in ((full, "No space left"), (away, "No such file"), (tmp_path, "directory")):
        with pytest.raises(PullError, match=f"cannot write {local}: .*{why}"):
            link.get(remote, local, limit=10)
    with pytest.raises(PushError, match="cannot read /proc/self/mem: Input/output error"):
        link.put([Upload(Path("/proc/self/mem"), remote)], lambda n: None)
    assert link.run(["echo", "fine"]).stdout == b"fine\n"
