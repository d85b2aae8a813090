"""Names with parameters, as they are written: ``int8(calibration=100, per_channel=false)``.

Recipes and scenarios are; see ``docs/adr/0008-parameters-in-a-recipes-name.md``.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.errors import UsageError

#: What a parameter may hold.
Value = bool | int | float | str | tuple[str, ...]

#: Parameter -> value; each was checked against its parameter when the recipe was parsed.
Values = Mapping[str, Any]

_NAME = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\((.*)\))?\s*", re.DOTALL)
_BARE = re.compile(r"[A-Za-z0-9_./:-]+")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting; its type is that of ``default``.

    Numbers lie within ``low`` and ``high``, texts in ``choices`` where there are any.
    """

    name: str
    default: Value
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def check(self, owner: str, value: Any) -> Value:
        """``value`` as this parameter's type; ``UsageError`` names its ``owner``."""
        wanted = type(self.default)
        if isinstance(value, list):
            value = tuple(value)
        if wanted is float and type(value) is int:
            value = float(value)
        if wanted is tuple and isinstance(value, str):
            value = (value,)
        texts = isinstance(value, tuple) and all(isinstance(item, str) for item in value)
        if type(value) is not wanted or (wanted is tuple and not texts):
            kind = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
            expected = kind.get(wanted, "a list of texts")
            raise UsageError(f"{owner}: {self.name} takes {expected}, not {value!r}")
        if self.choices and value not in self.choices:
            raise UsageError(
                f"{owner}: {self.name} is one of {', '.join(self.choices)}, not {value!r}"
            )
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._check_number(owner, value)
        checked: Value = value
        return checked

    def _check_number(self, owner: str, value: float) -> None:
        if not math.isfinite(value):
            raise UsageError(f"{owner}: {self.name} takes a number, not {value}")
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not low <= value <= high:
            raise UsageError(f"{owner}: {self.name} is {low:g} to {high:g}, not {value}")


def written(name: str, values: Values) -> str:
    """``name(key=value, ...)``, or just the name."""
    if not values:
        return name
    return f"{name}({', '.join(f'{key}={literal(value)}' for key, value in values.items())})"


def literal(value: Value) -> str:
    """A value as it is written."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        value += 0.0  # no minus before a zero
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, str):
        # TOML takes JSON's texts but for one control character that JSON leaves as it is.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value)


def read_call(noun: str, text: str, example: str) -> tuple[str, dict[str, Any]]:
    """Name and settings of ``name`` or ``name(key=value, ...)``.

    Values are written as in TOML; a text may stand without its quotes. Raises ``UsageError``.
    """
    match = _NAME.fullmatch(text)
    if not match:
        raise UsageError(
            f"{text!r} is no {noun}", hint=f'a name, or a name with parameters: "{example}"'
        )
    return match[1], _arguments(f"{noun} {match[1]}", match[2])


def _arguments(owner: str, text: str | None) -> dict[str, Any]:
    if text is None or not text.strip():
        return {}
    for attempt in (text, _quoted(text)):
        try:
            return dict(tomllib.loads(f"given = {{ {attempt.strip()} }}")["given"])
        except (ValueError, RecursionError):  # huge integers, dates that are none, deep nesting
            continue
    raise UsageError(
        f"{owner}: cannot read the parameters ({text})",
        hint='write name=value, separated by commas; lists as ["a", "b"]',
    )


def _quoted(text: str) -> str:
    """Bare words after ``=`` in quotes, unless TOML reads them itself; quoted texts stay."""

    def quote(match: re.Match[str]) -> str:
        word = match[2]
        if word is None:
            return match[0]
        try:
            tomllib.loads(f"x = {word}")
            return match[0]
        except (ValueError, RecursionError):
            return f"{match[1]}{json.dumps(word)}"

    return re.sub(rf"{_TEXT.pattern}|(=\s*)({_BARE.pattern})(?=\s*(?:,|$))", quote, text.strip())
