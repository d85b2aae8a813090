"""The emulated Android against clients that mean it ill: messages of every kind and order."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import adb_protocol as wire
from harness.emulation.android import AndroidTarget
from tests.support.android import Raw, started, wait_until

TMP = "/data/local/tmp"


@pytest.fixture(scope="module")
def open_phone() -> Iterator[AndroidTarget]:
    """Lets everybody in; for clients without a key."""
    with started(authenticate=False) as target:
        yield target
        assert target.log == ""


def test_a_command_ends_when_its_client_has_gone(open_phone: AndroidTarget) -> None:
    with Raw(open_phone) as client:
        client.connect()
        # One that reads the end of its input, and one that wants to live on.
        pids = []
        for ours, then in ((7, b"cat; echo ended >/data/local/tmp/ended"),
                           (8, b"while :; do sleep 1; done")):  # fmt: skip
            theirs = client.open(b"exec:trap '' HUP; echo $$; " + then, ours)
            pids.append(int(client.receive()[3]))
            client.send(wire.OKAY, ours, theirs)
            client.send(wire.CLSE, ours, theirs)
        wait_until((open_phone.data / "local/tmp/ended").exists)
        check = b"exec:kill -0 %d 2>/dev/null && echo alive || echo gone" % pids[1]

        def gone() -> bool:
            assert client.open(check, 9)
            return client.all(9) == b"gone\n"

        wait_until(gone)


# -- clients that mean it ill -------------------------------------------------------------


def _bad_message(kind: str) -> bytes:
    if kind == "magic":
        return struct.pack("<6I", wire.OPEN, 1, 0, 0, 0, 0)
    if kind == "length":
        return struct.pack("<6I", wire.OPEN, 1, 0, 0xFFFFFFFF, 0, wire.OPEN ^ 0xFFFFFFFF)
    if kind == "command":
        return struct.pack("<6I", 0x41414141, 1, 0, 0, 0, 0x41414141 ^ 0xFFFFFFFF)
    if kind == "no stream":
        return wire.header(wire.OPEN, 0, 0, b"sync:\0", checked=True) + b"sync:\0"
    return os.urandom(5000)


@pytest.mark.parametrize(
    ("kind", "first"),
    [
        ("magic", False), ("magic", True), ("length", False), ("length", True),
        ("command", False), ("command", True), ("noise", False), ("noise", True),
        ("no stream", False),
    ],
)  # fmt: skip
def test_what_is_no_message_ends_the_connection(
    open_phone: AndroidTarget, kind: str, first: bool
) -> None:
    with Raw(open_phone) as good, Raw(open_phone) as bad:
        good.connect()
        if not first:
            bad.connect()
        bad.socket.sendall(_bad_message(kind))
        assert bad.closed()
        assert good.open(b"exec:echo fine")
        assert good.all() == b"fine\n"


def test_a_wrong_checksum_ends_the_connection_where_they_count(open_phone: AndroidTarget) -> None:
    with Raw(open_phone, wire.VERSION_WITH_CHECKSUMS) as client:
        client.connect()
        assert client.open(b"exec:echo fine")
        assert client.all() == b"fine\n"
        head = wire.HEADER.pack(wire.OPEN, 1, 0, 5, 1, wire.OPEN ^ 0xFFFFFFFF)
        client.socket.sendall(head + b"sync:")
        assert client.closed()


def test_a_truncated_message_and_no_more(open_phone: AndroidTarget) -> None:
    with Raw(open_phone) as client:
        client.connect()
        client.socket.sendall(wire.HEADER.pack(wire.OPEN, 1, 0, 99, 0, wire.OPEN ^ 0xFFFFFFFF))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.closed()


@pytest.mark.slow
def test_streams_and_connections_are_bounded(open_phone: AndroidTarget) -> None:
    with Raw(open_phone) as client:
        client.connect()
        opened = [client.open(b"sync:", number) for number in range(1, 400)]
        assert 0 < sum(map(bool, opened)) < 399
        # Those that were opened still work, and closing makes room.
        client.send(wire.CLSE, 1, opened[0])
        assert client.open(b"sync:", 1)
    with Raw(open_phone) as client:
        client.connect()
        opened = [client.open(b"exec:sleep 1000", number) for number in range(1, 100)]
        assert 0 < sum(map(bool, opened)) < 99
        for number, theirs in enumerate(opened, 1):
            if theirs:
                client.send(wire.CLSE, number, theirs)
        wait_until(lambda: client.open(b"exec:echo fine"))
        assert client.all() == b"fine\n"
    with contextlib.ExitStack() as crowd:
        many = [crowd.enter_context(Raw(open_phone)) for _ in range(40)]
        assert many[0].closed()
        client = crowd.enter_context(Raw(open_phone))
        client.connect()
        assert client.open(b"exec:echo fine")
        assert client.all() == b"fine\n"


def test_messages_out_of_turn(open_phone: AndroidTarget) -> None:
    with Raw(open_phone) as client:
        client.connect()
        for command in (wire.WRTE, wire.OKAY, wire.CLSE):  # to streams that are not there
            client.send(command, 5, 99, b"x" if command == wire.WRTE else b"")
        assert not client.open(b"no:such service")
        assert not client.open(b"shell,v2:\0echo")
        assert not client.open(b"")
        theirs = client.open(b"exec:sleep 1000")
        for _ in range(2):  # the pipe takes less than this, so there is no OKAY in between
            client.send(wire.WRTE, 7, theirs, b"x" * 1_000_000)
        assert client.closed()


COMMANDS = [wire.CNXN, wire.AUTH, wire.OPEN, wire.OKAY, wire.WRTE, wire.CLSE]
NAMES = st.sampled_from([b"sync:\0", b"exec:cat\0", b"shell,v2,raw:echo x; cat\0", b"shell:\0"])
NUMBERS = st.integers(0, 4) | st.integers(0, 0xFFFFFFFF)
PIECES = st.builds(
    lambda kind, size, path: struct.pack("<4sI", kind, size) + path,
    st.sampled_from([b"STAT", b"LIST", b"LIS2", b"SEND", b"DATA", b"DONE", b"RECV", b"QUIT"]),
    NUMBERS | st.just(12),
    st.sampled_from([b"", b"/data/x,0644", b"/data/", b"/proc/self/x"]),
)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    messages=st.lists(
        st.tuples(
            st.sampled_from(COMMANDS), NUMBERS, NUMBERS, NAMES | PIECES | st.binary(max_size=60)
        ),
        max_size=30,
    )
)
def test_messages_of_any_order_and_kind_leave_the_daemon_well(
    open_phone: AndroidTarget, messages: list[tuple[int, int, int, bytes]]
) -> None:
    with Raw(open_phone) as client:
        client.connect()
        with contextlib.suppress(ConnectionError):
            for command, arg0, arg1, data in messages:
                client.send(command, arg0, arg1, data)
    with Raw(open_phone) as client:
        client.connect()
        assert client.open(b"sync:")
    assert open_phone.log == ""


def test_endless_output_waits_for_its_reader(open_phone: AndroidTarget) -> None:
    with Raw(open_phone) as client:
        client.connect(4096)
        theirs = client.open(b"exec:yes")
        for _ in range(100):
            command, _, _, data = client.receive()
            assert command == wire.WRTE and 0 < len(data) <= 4096
            client.send(wire.OKAY, 7, theirs)
        client.send(wire.CLSE, 7, theirs)


@pytest.mark.parametrize(
    "request_",
    [
        struct.pack("<4sI", b"STAT", 0xFFFFFFFF),
        struct.pack("<4sI", b"NOPE", 1) + b"/",
        struct.pack("<4sI", b"SEND", 12) + b"/data/x,0644" + struct.pack("<4sI", b"DATA", 1 << 31),
        struct.pack("<4sI", b"SEND", 12) + b"/data/x,0644" + struct.pack("<4sI", b"STAT", 0),
        struct.pack("<4sI", b"SEND", 7) + b"/data/x",
        struct.pack("<4sI", b"SEND", 31) + b"/data/x,99999999999999999999999",
        struct.pack("<4sI", b"SEND", 10) + b"/data/x,-5",
        struct.pack("<4sI", b"RECV", 9) + b"/dev/zero",
        struct.pack("<4sI", b"RECV", 5) + b"/dat\0",
        struct.pack("<4sI", b"RECV", 5) + b"/data",
    ],
    ids=[
        "length",
        "command",
        "data",
        "no data",
        "no mode",
        "large mode",
        "small mode",
        "endless",
        "nul",
        "folder",
    ],
)
def test_bad_requests_for_files_fail(open_phone: AndroidTarget, request_: bytes) -> None:
    with Raw(open_phone) as client:
        client.connect()
        theirs = client.open(b"sync:")
        client.send(wire.WRTE, 7, theirs, request_)
        answer = client.all()
        assert (
            answer.startswith(b"FAIL") and len(answer) == 8 + struct.unpack_from("<I", answer, 4)[0]
        )
        assert not (open_phone.data / "x").exists()


def test_many_requests_for_files_at_once_are_answered_in_order(open_phone: AndroidTarget) -> None:
    (open_phone.data / "local/tmp/file").write_bytes(b"y" * 200_000)
    path = f"{TMP}/file".encode()
    stat = struct.pack("<4sI", b"STAT", len(path)) + path
    receive = struct.pack("<4sI", b"RECV", len(path)) + path
    entries = struct.pack("<4sI", b"LIS2", len(TMP)) + TMP.encode()
    second = struct.pack("<4sI", b"STA2", len(path)) + path
    quit_ = struct.pack("<4sI", b"QUIT", 0)
    with Raw(open_phone) as client:
        client.connect()
        theirs = client.open(b"sync:")
        client.send(wire.WRTE, 7, theirs, stat + receive + second + entries + stat + quit_)
        answer = client.all()
    first = answer[:16]
    assert struct.unpack("<4s3I", first)[:3] == (b"STAT", 0o100644, 200_000)
    content, at = b"", 16
    while answer[at : at + 4] == b"DATA":
        size = struct.unpack_from("<I", answer, at + 4)[0]
        content += answer[at + 8 : at + 8 + size]
        at += 8 + size
    assert content == b"y" * 200_000
    assert answer[at : at + 8] == struct.pack("<4sI", b"DONE", 0)
    at += 8
    found = struct.unpack_from("<4sIQQIIIIQqqq", answer, at)
    assert (found[0], found[1], found[4], found[8]) == (b"STA2", 0, 0o100644, 200_000)
    names, at = set(), at + 72
    while answer[at : at + 4] == b"DNT2":
        size = struct.unpack_from("<I", answer, at + 72)[0]
        names.add(answer[at + 76 : at + 76 + size])
        at += 76 + size
    assert {b".", b"..", b"file"} <= names
    assert answer[at : at + 4] == b"DONE"
    assert answer[at + 76 :] == first
