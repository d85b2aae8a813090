"""Raw samples as compact bytes.

Format 1: the byte 1, a little-endian uint32 count n, then zlib over 2n little-endian int64:
the n start times, each as the difference to the one before, then the n values.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from harness.errors import StoreError

_HEADER = struct.Struct("<BI")
_FORMAT = 1


def encode_samples(at: NDArray[np.int64], values: NDArray[np.int64]) -> bytes:
    """Bytes for ``n`` start times and values in ns, both (n,)."""
    if at.shape != values.shape or at.ndim != 1:
        raise ValueError("start times and values must be of one length")
    steps = np.diff(at, prepend=np.int64(0))
    body = np.concatenate([steps, values]).astype("<i8").tobytes()
    return _HEADER.pack(_FORMAT, len(values)) + zlib.compress(body, 6)


def decode_samples(data: object) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``(at, values)`` of :func:`encode_samples`; raises ``StoreError`` on damaged bytes.

    ``data`` is what the database gave, which need not be bytes: SQLite keeps any type anywhere.
    """
    if not isinstance(data, bytes | bytearray | memoryview):
        raise StoreError(f"damaged samples: {type(data).__name__} instead of bytes")
    data = bytes(data)
    unpacker = zlib.decompressobj()
    try:
        version, n = _HEADER.unpack_from(data)
        if version != _FORMAT:
            raise StoreError(f"samples of unknown format {version}")
        # Never more than the header says and one byte: a few bytes may stand for gigabytes.
        body = unpacker.decompress(data[_HEADER.size :], 16 * n + 1)
    except (struct.error, zlib.error) as error:
        raise StoreError(f"damaged samples: {error}") from None
    if len(body) != 16 * n or unpacker.unconsumed_tail:
        raise StoreError(f"damaged samples: not the {16 * n} bytes of {n} samples")
    if not unpacker.eof or unpacker.unused_data:
        raise StoreError("damaged samples: their end is cut off or something follows it")
    numbers = np.frombuffer(body, dtype="<i8").astype(np.int64)
    return np.cumsum(numbers[:n]), numbers[n:]
