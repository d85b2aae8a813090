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


def decode_samples(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``(at, values)`` of :func:`encode_samples`; raises ``StoreError`` on damaged bytes."""
    try:
        version, n = _HEADER.unpack_from(data)
        if version != _FORMAT:
            raise StoreError(f"samples of unknown format {version}")
        body = np.frombuffer(zlib.decompress(data[_HEADER.size :]), dtype="<i8").astype(np.int64)
        if len(body) != 2 * n:
            raise StoreError(f"damaged samples: {len(body)} numbers for {n} samples")
    except (struct.error, zlib.error) as error:
        raise StoreError(f"damaged samples: {error}") from None
    return np.cumsum(body[:n]), body[n:]
