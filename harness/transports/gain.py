"""Whether a file gains by being packed for its journey."""

from __future__ import annotations

import time
import zlib
from pathlib import Path

_SAMPLE = 1 << 15
_SAMPLES = 4

#: Bytes per second that a small board is trusted to unpack.
_UNPACK_RATE = 50e6

#: What must be left of a file, at most, to pack it over a link of unknown rate.
_CLEARLY = 0.7


class Gain:
    """What gzip makes of a few blocks of a file, and how fast."""

    def __init__(self, path: Path, offset: int) -> None:
        size = path.stat().st_size - offset
        taken = packed = 0
        begun = time.perf_counter()
        with open(path, "rb") as file:
            for index in range(_SAMPLES):
                file.seek(offset + max(0, size - _SAMPLE) * index // (_SAMPLES - 1))
                block = file.read(_SAMPLE)
                taken += len(block)
                packed += len(zlib.compress(block, 1))
        self._ratio = packed / max(taken, 1)
        self._speed = taken / max(time.perf_counter() - begun, 1e-6)

    @property
    def promises(self) -> bool:
        """Whether it gets smaller at all."""
        return self._ratio < 0.9

    def pays(self, rate: float | None) -> bool:
        """Whether packing, sending and unpacking beside each other end sooner than sending.

        ``rate`` is what the link carries, bytes per second, if that is known.
        """
        if rate is None:
            return self._ratio < _CLEARLY
        packed = max(self._ratio / rate, 1 / self._speed, 1 / _UNPACK_RATE)
        return self.promises and packed < 0.9 / rate
