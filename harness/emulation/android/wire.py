"""Messages of the adb protocol: a header of 24 bytes, and a payload.

Source: AOSP packages/modules/adb, ``protocol.txt`` (formats, constants), ``adb.h`` and
``transport.cpp`` (checksums end with version 0x01000001, sizes of payloads).
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from typing import NamedTuple
from zlib import adler32

CNXN, AUTH, OPEN = 0x4E584E43, 0x48545541, 0x4E45504F
OKAY, CLSE, WRTE = 0x59414B4F, 0x45534C43, 0x45545257
STLS = 0x534C5453

#: Types of an AUTH message.
TOKEN, SIGNATURE, RSA_PUBLIC_KEY = 1, 2, 3

VERSION_WITH_CHECKSUMS = 0x01000000
VERSION = 0x01000001

#: The longest payload: from the CNXN on what that says, before it what every adb can take.
MAX_PAYLOAD = 1024 * 1024
MAX_FIRST_PAYLOAD = 4096

HEADER = struct.Struct("<6I")


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


def banner(properties: Collection[tuple[str, str]], features: Collection[str]) -> bytes:
    """The device's identity in its CNXN: what ``adb devices -l`` prints, and its abilities."""
    parts = [f"{name}={value}" for name, value in properties]
    return ("device::" + ";".join([*parts, "features=" + ",".join(features)])).encode()
