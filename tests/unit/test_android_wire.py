"""The bytes of the emulated Android, without a device."""

from __future__ import annotations

import base64
import itertools
import struct
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA1
from hypothesis import given
from hypothesis import strategies as st

from harness import adb_protocol as wire
from harness.emulation.android import auth, phone, shell
from harness.emulation.android.streams import Stream
from harness.emulation.android.sync import Sync

WORDS = st.integers(0, 0xFFFFFFFF)


@given(WORDS, WORDS, WORDS, st.binary(max_size=2000))
def test_headers_are_read_as_written(command: int, arg0: int, arg1: int, data: bytes) -> None:
    written = wire.header(command, arg0, arg1, data, checked=True)
    assert wire.parse_header(written, 2000) == (command, arg0, arg1, len(data), sum(data))
    if data:
        with pytest.raises(wire.WireError, match="bytes, more than"):
            wire.parse_header(written, len(data) - 1)


@given(st.binary(min_size=24, max_size=24))
def test_only_headers_are_taken_for_headers(data: bytes) -> None:
    words = struct.unpack("<6I", data)
    try:
        wire.parse_header(data, 1000)
    except wire.WireError:
        assert words[0] ^ words[5] != 0xFFFFFFFF or words[3] > 1000
    else:
        assert words[0] ^ words[5] == 0xFFFFFFFF and words[3] <= 1000


@given(st.binary(max_size=600), st.integers(1, 9000))
def test_a_checksum_is_the_sum(piece: bytes, times: int) -> None:
    assert wire.checksum(piece * times) == sum(piece) * times & 0xFFFFFFFF


def test_a_checksum_of_the_largest_bytes() -> None:
    assert wire.checksum(b"\xff" * 1_000_000) == 255_000_000


def _cut(data: bytes, places: list[int]) -> list[memoryview]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    view = memoryview(data)
    return [view[a:b] for a, b in itertools.pairwise(edges)]


@given(
    st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), max_size=8),
    st.lists(st.integers(0, 10_000), max_size=12),
)
def test_packets_of_the_shell_come_apart_wherever_they_are_cut(
    packets: list[tuple[int, bytes]], places: list[int]
) -> None:
    data = b"".join(wire.SHELL_PACKET.pack(kind, len(body)) + body for kind, body in packets)
    reader = shell.Packets()
    found: list[tuple[int, bytes]] = []
    for piece in _cut(data, places):
        found += [(kind, bytes(body)) for kind, body in reader.feed(piece)]
    assert b"".join(body for _, body in found) == b"".join(body for _, body in packets)
    for kind in range(256):
        ours = b"".join(body for one, body in found if one == kind)
        assert ours == b"".join(body for one, body in packets if one == kind)
    empty = [kind for kind, body in packets if not body]
    assert [kind for kind, body in found if not body] == empty


def test_a_packet_of_a_huge_length_is_never_gathered() -> None:
    reader = shell.Packets()
    reader.feed(memoryview(wire.SHELL_PACKET.pack(wire.STDIN, 0xFFFFFFFF)))
    for _ in range(3):
        assert [len(body) for _, body in reader.feed(memoryview(bytes(1000)))] == [1000]


@pytest.mark.parametrize(
    ("name", "command", "expected"),
    [
        ("shell", b"id", shell.Request(b"id", packets=False, terminal=False)),
        ("shell", b"", shell.Request(b"", packets=False, terminal=True)),
        ("shell,raw", b"", shell.Request(b"", packets=False, terminal=False)),
        ("shell,v2,TERM=xterm,raw", b"a:b", shell.Request(b"a:b", True, False, "xterm")),
        ("shell,v2,pty", b"id", shell.Request(b"id", packets=True, terminal=True)),
        ("exec", b"id", shell.Request(b"id", packets=False, terminal=False)),
        ("jdwp", b"1", None),
    ],
)
def test_names_of_commands(name: str, command: bytes, expected: shell.Request | None) -> None:
    assert shell.parse_request(name, command) == expected


def adb_public_key(key: rsa.RSAPublicKey) -> str:
    """As adb writes it."""
    numbers = key.public_numbers()
    n = numbers.n
    inverse = (-pow(n, -1, 1 << 32)) % (1 << 32)
    square = pow(1 << 2048, 2, n)
    data = struct.pack("<II", 64, inverse) + n.to_bytes(256, "little")
    data += square.to_bytes(256, "little") + struct.pack("<I", numbers.e)
    return base64.b64encode(data).decode() + " me@here"


def test_signatures_are_those_of_the_key() -> None:
    ours, other = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    token = auth.new_token()
    signature = ours.sign(token, padding.PKCS1v15(), utils.Prehashed(SHA1()))
    line = adb_public_key(ours.public_key())
    assert auth.signed_by(line, token, signature)
    assert auth.signed_by(line + "\0", token, signature)
    assert not auth.signed_by(adb_public_key(other.public_key()), token, signature)
    assert not auth.signed_by(line, auth.new_token(), signature)
    assert not auth.signed_by(line, token, signature[:-1])
    assert not auth.signed_by(line, token, b"")
    assert auth.same_key(line, line.replace("me@here", "you@there"))
    assert not auth.same_key("", "")


@given(st.text(max_size=40) | st.binary(max_size=800).map(lambda b: base64.b64encode(b).decode()))
def test_what_is_no_key_signs_nothing(text: str) -> None:
    assert not auth.signed_by(text, auth.new_token(), b"x" * 256)


class _Client:
    """The other end of a stream: takes everything at once."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, bytes]] = []
        self.stream = Stream(1, 2, 1000, self._send, lambda local: None)
        self.stream.start(Sync(self.stream))

    def _send(self, command: int, arg0: int, arg1: int, data: bytes | memoryview) -> None:
        self.sent.append((command, bytes(data)))

    def write(self, pieces: list[memoryview]) -> bytes:
        """Send pieces, take what comes; all answers."""
        for piece in pieces:
            self.stream.received(piece)
            self.take()
        self.take()
        return b"".join(data for command, data in self.sent if command == wire.WRTE)

    def take(self) -> None:
        while True:
            count = len(self.sent)
            self.stream.okay()
            if len(self.sent) == count:
                return


@given(data=st.binary(max_size=3000), repeat=st.integers(1, 100), places=st.lists(WORDS))
def test_files_arrive_wherever_their_messages_are_cut(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, repeat: int, places: list[int]
) -> None:
    path = tmp_path_factory.mktemp("sync") / "file"
    content = data * repeat
    spec = f"{path},33188".encode()
    stream = struct.pack("<4sI", b"SEND", len(spec)) + spec
    for at in range(0, len(content), wire.SYNC_MAX_DATA):
        piece = content[at : at + wire.SYNC_MAX_DATA]
        stream += struct.pack("<4sI", b"DATA", len(piece)) + piece
    name = str(path).encode()
    stream += struct.pack("<4sI", b"DONE", 12345)
    stream += struct.pack("<4sI", b"RECV", len(name)) + name
    client = _Client()
    answer = client.write(_cut(stream, places))
    assert path.read_bytes() == content
    assert int(path.stat().st_mtime) == 12345
    assert answer[:8] == struct.pack("<4sI", b"OKAY", 0)
    back, at = b"", 8
    while answer[at : at + 4] == b"DATA":
        size = struct.unpack_from("<I", answer, at + 4)[0]
        assert size <= wire.SYNC_MAX_DATA
        back += answer[at + 8 : at + 8 + size]
        at += 8 + size
    assert back == content and answer[at:] == struct.pack("<4sI", b"DONE", 0)
    assert max((len(piece) for _, piece in client.sent), default=0) <= 1000
    path.unlink()


def test_an_upload_that_is_cut_leaves_nothing(tmp_path: Path) -> None:
    spec = f"{tmp_path}/file,0644".encode()
    client = _Client()
    client.write([memoryview(struct.pack("<4sI", b"SEND", len(spec)) + spec)])
    client.write([memoryview(struct.pack("<4sI", b"DATA", 10) + b"half")])
    assert (tmp_path / "file").exists()
    client.stream.gone()
    assert not (tmp_path / "file").exists()


def test_what_a_phone_says_can_be_replaced() -> None:
    made = phone.Phone(properties={"ro.product.model": "Mine", "own": "1"})
    said = phone.properties(made)
    assert said["ro.product.model"] == "Mine" and said["own"] == "1"
    assert phone.clusters(1) == [[0]] and phone.clusters(5) == [[0, 1], [2, 3, 4]]
