"""The wire format, version 1: one JSON object per line, UTF-8, at most ``MAX_LINE_BYTES``.

See ``PROTOCOL.md`` for what the messages mean. Arrays travel as base64 of their raw
little-endian bytes, so that no value is rounded on the way.
"""

import base64
import json

PROTOCOL_VERSION = 1

#: A longer line is a defect or an attack; both sides refuse it.
MAX_LINE_BYTES = 32 * 1024 * 1024

#: Raw bytes of tensor data in one ``outputs`` message, at most.
MAX_CHUNK_BYTES = 256 * 1024

#: NumPy type names that may cross the wire.
DTYPES = (
    "float16",
    "float32",
    "float64",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "bool",
)


class WireError(ValueError):
    """A line that is not of the protocol."""


def encode(message):
    """One message as a line of bytes with its line feed."""
    line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode("utf-8") + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise WireError("message of %d bytes is over the limit" % len(line))
    return line


def decode(line, **hooks):
    """The message in a line of bytes; raises ``WireError`` for anything else.

    ``hooks`` are those of ``json.loads``; one that raises ``ValueError`` refuses the line.
    """
    if len(line) > MAX_LINE_BYTES:
        raise WireError("line of more than %d bytes" % MAX_LINE_BYTES)
    try:
        message = json.loads(line.decode("utf-8"), **hooks)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise WireError("not a JSON line: %r" % bytes(line[:120])) from None
    if not isinstance(message, dict):
        raise WireError("not a JSON object: %r" % bytes(line[:120]))
    return message


def pack(array):
    """A C-contiguous array's raw bytes as base64 text."""
    return base64.b64encode(memoryview(array).cast("B")).decode("ascii")


def unpack(text):
    """The raw bytes in base64 ``text``; raises ``WireError``."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        raise WireError("not base64 data") from None
