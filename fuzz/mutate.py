"""Changes to inputs: of bytes, of lines and numbers, and of values in JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from random import Random
from typing import Any, Literal

from fuzz.target import Target

_BYTES = (0, 1, 9, 10, 13, 32, 34, 44, 61, 91, 93, 123, 125, 127, 128, 254, 255)
_WORDS = (
    0,
    1,
    2,
    4,
    0x7F,
    0xFF,
    0x100,
    0x7FFF,
    0xFFFF,
    0x10000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)

_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "little", "big")

#: Digits of other scripts are digits to some functions and none to others.
NUMBERS = (
    "0", "1", "-1", "2", "00", "-0", "0.0", "-0.0", "1.5", "1e308", "1e999", "-1e999", "1e-400",
    "255", "256", "65536", "2147483648", "9223372036854775807", "9223372036854775808",
    "18446744073709551616", "9" * 40, "9" * 5000, "NaN", "Infinity", "-Infinity", "nan", "inf",
    "0x10", "1_000", "+1", "\u0661", "\u00b2", "\uff11", "true", "null", "",
)  # fmt: skip

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 0.0, -0.5, 1e308, float("inf"), float("-inf"), float("nan"),
    1 << 31, 1 << 53, 1 << 62, 1 << 63, 1 << 64, 10**40, -(1 << 63), "", "x", "\0", "\ud800",
    "\u202e", "1", "a" * 3000, "../..", [], {}, [[]], [None], [0], [1, 2, 3], {"": None},
    {"x": []}, [{}], [float("nan")], [[[[[[[[]]]]]]]], "ns", "int8", "float32",
)  # fmt: skip

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


def mutate(data: bytes, pool: Sequence[bytes], target: Target, rng: Random) -> bytes:
    """A few changes to ``data``; ``pool`` has other inputs to take parts of."""
    for _ in range(1 << rng.randrange(4)):
        roll = rng.random()
        if target.kind == "json" and roll < 0.75:
            data = _json(data, rng)
        elif target.kind != "bytes" and roll < 0.9:
            data = _text(data, pool, target, rng)
        else:
            data = _bytes(data, pool, target, rng)
    return data[: target.max_bytes]


def _place(data: bytes, rng: Random, longest: int = 64) -> tuple[int, int]:
    begin = rng.randrange(len(data) + 1)
    return begin, min(len(data), begin + rng.randrange(1, longest))


def _bytes(data: bytes, pool: Sequence[bytes], target: Target, rng: Random) -> bytes:
    begin, end = _place(data, rng)
    choice = rng.randrange(9)
    if choice == 0 and begin < len(data):
        return data[:begin] + bytes([data[begin] ^ 1 << rng.randrange(8)]) + data[begin + 1 :]
    if choice == 1:
        return data[:begin] + bytes([rng.choice(_BYTES)]) + data[begin + 1 :]
    if choice == 2:
        word = (rng.choice(_WORDS) + rng.randrange(-2, 3)) & 0xFFFFFFFF
        width = rng.choice((2, 4, 4, 8))
        raw = (word & (1 << 8 * width) - 1).to_bytes(width, rng.choice(_ORDERS))
        begin -= begin % rng.choice((1, 4))
        return data[:begin] + raw + data[begin + width :]
    if choice == 3:
        return data[:begin] + data[end:]
    if choice == 4:
        return data[:end] + data[begin:]
    if choice == 5:
        return data[:begin]
    if choice == 6:
        other = rng.choice(pool)
        first, last = _place(other, rng, 512)
        return data[:begin] + other[first:last] + data[begin if rng.random() < 0.5 else end :]
    if choice == 7 and target.tokens:
        return (
            data[:begin] + rng.choice(target.tokens) + data[begin if rng.random() < 0.5 else end :]
        )
    return data[:begin] + rng.randbytes(rng.randrange(1, 9)) + data[begin:]


def _text(data: bytes, pool: Sequence[bytes], target: Target, rng: Random) -> bytes:
    choice = rng.randrange(6)
    if choice <= 1:
        numbers = list(_NUMBER.finditer(data))
        if numbers:
            found = rng.choice(numbers)
            new = rng.choice(NUMBERS).encode()
            return data[: found.start()] + new + data[found.end() :]
    lines = data.splitlines(keepends=True)
    if choice == 2 and lines:
        del lines[rng.randrange(len(lines))]
        return b"".join(lines)
    if choice == 3 and lines:
        other = rng.choice(pool).splitlines(keepends=True) or lines
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(other))
        return b"".join(lines)
    if choice == 4 and len(lines) > 1:
        one, two = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines[one], lines[two] = lines[two], lines[one]
        return b"".join(lines)
    return _bytes(data, pool, target, rng)


def _json(data: bytes, rng: Random) -> bytes:
    """Another value at some place of one line."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    try:
        value = json.loads(lines[at])
        places = _places(value)
        if not places:
            return data
        inside, key = rng.choice(places)
        choice = rng.randrange(6)
        if choice == 0 and isinstance(inside, dict):
            del inside[key]
        elif choice == 1:
            inside[key] = [inside[key]] * rng.randrange(1, 4)
        elif choice == 2:
            other, name = rng.choice(places)
            # Through text, so that nothing holds itself.
            inside[key] = json.loads(json.dumps(other[name]))
        else:
            inside[key] = rng.choice(_VALUES)
        lines[at] = json.dumps(value).encode()
    except (ValueError, RecursionError, KeyError, IndexError):
        return data
    return b"\n".join(lines)


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    open_ = [value]
    while open_ and len(found) < 2000:
        inside = open_.pop()
        if isinstance(inside, dict | list):
            keys = list(inside) if isinstance(inside, dict) else range(len(inside))
            for key in keys:
                found.append((inside, key))
                open_.append(inside[key])
    return found
