"""What is written to ``device_agents/shell/serve.sh``; its head describes the requests."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator

from harness.errors import PushError
from harness.transports.transport import Upload

#: Bytes that are read of a file at once.
BLOCK = 1 << 18

#: Bytes of a file that one frame announces; shells of 32 bits compute with them.
_FRAME = 1 << 30

#: A frame of packed bytes, at least: each costs the device a process.
_PACKED_FRAME = 1 << 20


def first_line(mark: str, file: Upload, end: int, mode: str, frame: str, hashing: str) -> bytes:
    """What ``serve.sh`` reads before the bytes of a file."""
    parts = ["put", mark, str(file.offset), str(end), mode, frame, hashing, coded(file.remote)]
    place = file.place
    if place is not None:
        parts += [place.sha256, "x" if place.executable else "-", coded(place.path)]
    else:
        parts += ["-", "-", "-"]
    return " ".join(parts).encode() + b"\n"


def frames(parts: Iterator[bytes], size: int, mode: str) -> Iterator[bytes]:
    """The parts with a line before so many of their bytes, and the line that ends them."""
    if mode == "plain":
        sent = 0
        for block in parts:
            if sent % _FRAME == 0:
                yield b"%d\n" % min(_FRAME, size - sent)
            yield block
            sent += len(block)
        if sent != size:
            raise PushError("a file changed while it was sent")
    else:
        packed = bytearray()
        for block in parts:
            packed += block
            if len(packed) >= _PACKED_FRAME:
                yield b"%d\n" % len(packed)
                yield bytes(packed)
                packed.clear()
        if packed:
            yield b"%d\n" % len(packed)
            yield bytes(packed)
    yield b"0\n"


def coded(word: str) -> str:
    """A word for ``printf %b``: what could end it, or mean something to it, as octal numbers."""
    if not word:
        return "\\c"  # ends what printf prints
    return "".join(
        chr(byte) if 32 < byte < 127 and byte != 92 else f"\\0{byte:03o}"
        for byte in os.fsencode(word)
    )


def blocks(file: Upload, end: int, mode: str, tell: Callable[[int], None]) -> Iterator[bytes]:
    """The file's bytes from its offset to ``end``, as they go; ``tell`` gets their plain number."""
    pack = zlib.compressobj(1, zlib.DEFLATED, 31) if mode == "gzip" else None
    left = end - file.offset
    try:
        source = open(file.local, "rb")  # noqa: SIM115  closed below
    except OSError as error:
        raise PushError(f"cannot read {file.local}: {error.strerror}") from None
    with source:
        source.seek(file.offset)
        while left and (block := source.read(min(BLOCK, left))):
            left -= len(block)
            data = pack.compress(block) if pack else block
            if data:
                yield data
            tell(len(block))
    if pack:
        yield pack.flush()
