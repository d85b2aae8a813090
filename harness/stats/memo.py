"""Results of pure functions, kept for equal arguments.

A thousand devices of one runtime give the same outputs for the same variant: what is estimated
from them is the same too, and drawn once.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")


class Memo(Generic[T]):
    """The newest ``most`` results by their key; safe to share between threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The result for ``key``, made where it is not kept; what raises is not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return made


def digest(array: NDArray[Any]) -> tuple[str, tuple[int, ...], bytes]:
    """What tells an array from every other one: its type, its shape, a hash of its bytes."""
    body = np.ascontiguousarray(array)
    return body.dtype.str, body.shape, hashlib.blake2b(body.data, digest_size=16).digest()
