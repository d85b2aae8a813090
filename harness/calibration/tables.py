"""One table of a TOML file made anew; all else in it stays as it stands, comments too."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

#: Lines that one value may have.
_MOST_LINES = 2000


@dataclass(frozen=True, slots=True)
class _Statement:
    """The lines ``begin`` to ``end`` (exclusive): a table's header, or a key with its value."""

    begin: int
    end: int
    path: tuple[str, ...]
    header: bool


def with_table(text: str, where: tuple[str, ...], lines: list[str], mark: str) -> str:
    """A document in which the table ``where`` is just these lines, header and all, at its end.

    However the table is written now (``[a.b]  # comment``, ``[ a . "b" ]``, ``b = {...}`` in
    ``[a]``, dotted keys), it goes, with comments that begin with ``mark`` right above it. Without
    ``lines`` it only goes. Raises ``ValueError`` where that would change anything else, as
    where ``a`` itself is an inline table.
    """
    rows = text.split("\n")
    gone: set[int] = set()
    current: range | None = None
    for statement in _statements(rows):
        inside = statement.path[: len(where)] == where
        if statement.header:
            current = None
        if inside:
            begin = current.start if current else statement.begin
            if not current:
                begin = _above(rows, begin, mark)
            gone.update(range(begin, statement.end))
            if statement.header or current:
                current = range(begin, statement.end)
    kept = "\n".join(row for number, row in enumerate(rows) if number not in gone)
    found = kept.rstrip("\n") + "\n" if kept.strip() else ""
    if lines:
        found = (found + "\n" if found else "") + "\n".join(lines) + "\n"
    _check(text, found, where, lines)
    return found


def _above(rows: list[str], begin: int, mark: str) -> int:
    """Where the comments of ours right above a line begin; the empty lines before them too."""
    at = begin
    while at and rows[at - 1].startswith(mark):
        at -= 1
    while at and not rows[at - 1].strip():
        at -= 1
    return at


def _statements(rows: list[str]) -> Iterator[_Statement]:
    """Headers and keys in their order; the parser itself says where a value of many lines ends.

    Raises ``ValueError`` for what is no TOML.
    """
    table: tuple[str, ...] = ()
    at = 0
    while at < len(rows):
        end, found = _parsed(rows, at)
        if found:
            header = rows[at].lstrip().startswith("[")
            path = _path(found)
            if header:
                table = path
            # An inline table's keys are its own.
            yield _Statement(at, end, table if header else (*table, *path), header)
        at = end


def _parsed(rows: list[str], at: int) -> tuple[int, dict[str, Any]]:
    for end in range(at + 1, min(len(rows), at + _MOST_LINES) + 1):
        try:
            return end, tomllib.loads("\n".join(rows[at:end]))
        except tomllib.TOMLDecodeError:
            continue
    raise ValueError(f"line {at + 1} is no TOML")


def _path(found: Mapping[str, Any]) -> tuple[str, ...]:
    """The keys that lead to what a statement sets."""
    path: list[str] = []
    inner: Any = found
    while isinstance(inner, dict) and len(inner) == 1:
        key = next(iter(inner))
        path.append(key)
        inner = inner[key]
        if isinstance(inner, list) and len(inner) == 1 and isinstance(inner[0], dict):
            inner = inner[0]
    return tuple(path)


def _check(old: str, new: str, where: tuple[str, ...], lines: list[str]) -> None:
    """Raises ``ValueError`` if anything but the one table is another in the new text."""
    expected = tomllib.loads(old)
    inner: Any = expected
    for key in where[:-1]:
        inner = inner.setdefault(key, {}) if lines else inner.get(key, {})
    inner.pop(where[-1], None)
    wanted: Any = tomllib.loads("\n".join(lines))
    for key in where:
        wanted = wanted.get(key, {})
    if lines:
        inner[where[-1]] = deepcopy(wanted)
    try:
        same = tomllib.loads(new) == expected
    except ValueError:
        same = False
    if not same:
        raise ValueError(f"{'.'.join(where)} is written in a way that cannot be changed here")
