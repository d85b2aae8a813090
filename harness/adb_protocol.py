"""Formats of adb, for both ends: the links to devices, and the emulated Android.

Messages are a header of 24 bytes and a payload. Source: AOSP packages/modules/adb,
``protocol.txt`` (formats, constants), ``adb.h`` and ``transport.cpp`` (checksums end with version
0x01000001, sizes of payloads), ``shell_protocol.h``, ``file_sync_protocol.h``, ``SYNC.TXT``,
``adb_auth.h``; system/core/libcrypto_utils ``android_pubkey.c``.
"""

from __future__ import annotations

import base64
import binascii
import struct
from typing import NamedTuple
from zlib import adler32

CNXN, AUTH, OPEN = 0x4E584E43, 0x48545541, 0x4E45504F
OKAY, CLSE, WRTE = 0x59414B4F, 0x45534C43, 0x45545257
STLS = 0x534C5453

#: Types of an AUTH message; a token is signed as if it were a SHA-1 hash.
TOKEN, SIGNATURE, RSA_PUBLIC_KEY = 1, 2, 3
TOKEN_BYTES = 20

VERSION_WITH_CHECKSUMS = 0x01000000
VERSION = 0x01000001

#: The longest payload: from the CNXN on what that says, before it what every adb can take.
MAX_PAYLOAD = 1024 * 1024
MAX_FIRST_PAYLOAD = 4096

HEADER = struct.Struct("<6I")

#: Of the shell protocol: an id and a length, then data.
SHELL_PACKET = struct.Struct("<BI")
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN, WINDOW = range(6)

#: Of the service ``sync:``: a word and a number, most often of bytes that follow.
SYNC_HEAD = struct.Struct("<4sI")
SYNC_MAX_PATH, SYNC_MAX_DATA = 1024, 64 * 1024

#: Bits of the only keys that there are.
KEY_BITS = 2048
#: Words of the modulus, -1/n[0] mod 2^32, modulus, R^2 mod n (R = 2^2048), exponent.
_KEY = struct.Struct(f"<II{KEY_BITS // 8}s{KEY_BITS // 8}sI")
_KEY_WORDS = KEY_BITS // 32


class WireError(ValueError):
    """Bytes that are no message; nothing after them can be understood."""


class Header(NamedTuple):
    """A message without its payload."""

    command: int
    arg0: int
    arg1: int
    length: int
    checksum: int


def parse_header(data: bytes | bytearray | memoryview, limit: int) -> Header:
    """Read 24 bytes; ``limit`` is the longest payload that was agreed. Raises ``WireError``."""
    command, arg0, arg1, length, checksum, magic = HEADER.unpack_from(data)
    if magic != command ^ 0xFFFFFFFF:
        raise WireError(f"bad magic {magic:08x} of the command {command:08x}")
    if length > limit:
        raise WireError(f"a payload of {length} bytes, more than {limit}")
    return Header(command, arg0, arg1, length, checksum)


def header(
    command: int, arg0: int, arg1: int, payload: bytes | memoryview, *, checked: bool
) -> bytes:
    """The header of a message; ``checked`` asks for the checksum of old versions."""
    total = checksum(payload) if checked else 0
    return HEADER.pack(command, arg0, arg1, len(payload), total, command ^ 0xFFFFFFFF)


def checksum(payload: bytes | bytearray | memoryview) -> int:
    """The sum of all bytes, which the protocol calls a crc32."""
    # The low half of Adler-32 is 1 + the sum modulo 65521, which 256 bytes cannot reach.
    view = memoryview(payload)
    pieces = range(0, len(view), 256)
    return sum((adler32(view[at : at + 256]) & 0xFFFF) - 1 for at in pieces) & 0xFFFFFFFF


def write_key(modulus: int, exponent: int) -> bytes:
    """An RSA public key as adb writes it, without the comment that follows after a blank."""
    size = KEY_BITS // 8
    packed = _KEY.pack(
        _KEY_WORDS,
        pow(-modulus, -1, 1 << 32),
        modulus.to_bytes(size, "little"),
        pow(2, 2 * KEY_BITS, modulus).to_bytes(size, "little"),
        exponent,
    )
    return base64.b64encode(packed)


def read_key(text: str) -> tuple[int, int]:
    """Modulus and exponent of a line of ``adbkey.pub``; raises ``ValueError``."""
    words = text.replace("\0", "").split()
    try:
        data = base64.b64decode(words[0] if words else "", validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("an adb key is not base64") from None
    if len(data) != _KEY.size:
        raise ValueError(f"an adb key has {_KEY.size} bytes, not {len(data)}")
    count, _, modulus, _, exponent = _KEY.unpack(data)
    if count != _KEY_WORDS:
        raise ValueError(f"an adb key has {_KEY_WORDS} words, not {count}")
    return int.from_bytes(modulus, "little"), exponent
