"""A TOML file that knows on which line each of its keys stands."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from harness.cache import expanded
from harness.config.mistakes import mistakes
from harness.errors import ConfigError, suggest

_KEY = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"^\s*\[(\[)?\s*({_DOTTED})\s*\]\]?")
_ASSIGN = re.compile(rf"^\s*({_DOTTED})\s*=")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_TOKEN = re.compile(r"""\"(?:[^"\\]|\\.)*"|'[^']*'|[#,\[\]{}]|[^\s#,\[\]{}"']+""")

#: The most mistakes that one message lists.
_MOST = 12

#: A place in a TOML document: keys and list positions from the root.
Path_ = tuple[str | int, ...]

T = TypeVar("T", bound=BaseModel)


class TomlSource:
    """A parsed TOML file with the lines of its keys."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise ConfigError(f"there is no file {path}") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read {path}: {error}") from None
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except RecursionError:
            raise ConfigError(f"{path}: nested too deeply") from None
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"\(at line (\d+)", str(error))
            at = f":{found[1]}" if found else ""
            raise ConfigError(f"{path}{at}: not valid TOML: {error}") from None
        except ValueError as error:  # an integer of thousands of digits, a date that is none
            raise ConfigError(f"{path}: not valid TOML: {error}") from None
        self._lines = text.splitlines()
        self._keys = _key_lines(self._lines)

    def line(self, where: Path_) -> int | None:
        """The line of a key, or of the nearest enclosing one; of a list item by its value."""
        for length in range(len(where), 0, -1):
            at = self._keys.get(tuple(str(part) for part in where[:length]))
            if at is None:
                continue
            if length < len(where) and isinstance(where[length], int):
                return self._item_line(at, where, length)
            return at
        return None

    def _item_line(self, at: int, where: Path_, length: int) -> int:
        value: Any = self.data
        for part in where[: length + 1]:
            try:
                value = value[part]
            except (KeyError, IndexError, TypeError):
                return at
        if isinstance(value, str):
            for number in range(at, min(at + 200, len(self._lines)) + 1):
                if re.search(rf"""["']{re.escape(value)}["']""", self._lines[number - 1]):
                    return number
        position = where[length]
        if isinstance(value, dict) and isinstance(position, int):
            return _table_line(self._lines, at, position)
        return at

    def error(self, where: Path_, message: str, *, hint: str | None = None) -> ConfigError:
        """A ``ConfigError`` that begins with file and line."""
        line = self.line(where)
        return ConfigError(f"{self.path}:{line or 1}: {message}", hint=hint)

    def unknown(self, where: Path_, what: str, name: str, known: Iterable[str]) -> ConfigError:
        """The error for a name that nobody knows, with the nearest one that is known."""
        return self.error(where, f"unknown {what} {name!r}", hint=suggest(name, known))

    def validate(self, model: type[T], data: Any = None, base: Path_ = ()) -> T:
        """The data as ``model``; everything that is wrong becomes one ``ConfigError``."""
        data = self.data if data is None else data
        try:
            return model.model_validate(data)
        except ValidationError as error:
            found = mistakes(model, error, data)
        if len(found) == 1:
            raise self.error((*base, *found[0].where), found[0].message, hint=found[0].hint)
        found.sort(key=lambda item: self.line((*base, *item.where)) or 1)
        lines = [
            self.error((*base, *item.where), "; ".join(filter(None, (item.message, item.hint))))
            for item in found[:_MOST]
        ]
        more = f"\nand {len(found) - _MOST} more" if len(found) > _MOST else ""
        raise ConfigError("\n".join(item.message for item in lines) + more)

    def printable(self, where: Path_, name: str) -> str:
        """The name, unless it holds control characters, which could fool a terminal."""
        if not name.isprintable():
            raise self.error(where, f"{name!r} holds characters that cannot be printed")
        return name

    def expand(self, where: Path_, text: str) -> str:
        """``${NAME}`` and ``${NAME:-default}`` from the environment."""

        def value(found: re.Match[str]) -> str:
            chosen = os.environ.get(found[1]) or found[2]
            if chosen is None:
                raise self.error(
                    where,
                    f"the environment variable {found[1]} is not set",
                    hint=f"set it, or write ${{{found[1]}:-default}}",
                )
            return chosen

        return _VARIABLE.sub(value, text)

    def file(self, where: Path_, text: str) -> Path:
        """A path, relative to the TOML file's folder; it must exist."""
        path = expanded(self.expand(where, text))
        path = Path(os.path.abspath(self.path.parent / path))
        if not os.path.exists(path):  # also what is too long for a name
            nearest = _nearest_file(path)
            raise self.error(
                where,
                f"there is no file {path}",
                hint=f"did you mean {nearest}?" if nearest else None,
            )
        return path


def _nearest_file(path: Path) -> str | None:
    try:
        names = [item.name for item in path.parent.iterdir()]
    except (OSError, ValueError):  # a null character is in no name
        return None
    close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.6)
    return str(path.parent / close[0]) if close else None


def _table_line(lines: Sequence[str], at: int, index: int) -> int:
    """The line of an item of a list, which is assigned in the line ``at``."""
    depth, items, new = 0, -1, False
    for number, line in enumerate(lines[at - 1 :], at):
        for piece in _TOKEN.findall(line):
            if piece.startswith("#"):
                break
            if depth == 1 and new and piece != "]":
                items, new = items + 1, False
                if items == index:
                    return number
            depth += (piece in "[{") - (piece in "]}")
            new = new or (depth == 1 and piece in "[,")
            if depth == 0 and piece == "]":
                return at
    return at


def _unquote(key: str) -> tuple[str, ...]:
    return tuple(part.strip("\"'") for part in re.findall(_KEY, key))


def _key_lines(lines: Sequence[str]) -> dict[tuple[str, ...], int]:
    """Line numbers, from 1, of every table header and key outside multi-line values."""
    found: dict[tuple[str, ...], int] = {}
    counts: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    closing: str | None = None
    depth = 0
    for number, line in enumerate(lines, 1):
        if closing is not None:
            if closing in line:
                closing = None
            continue
        if depth == 0:
            header = _HEADER.match(line)
            assign = _ASSIGN.match(line)
            if header:
                table = _unquote(header[2])
                if header[1]:
                    index = counts[table] = counts.get(table, -1) + 1
                    table = (*table, str(index))
                for length in range(1, len(table) + 1):
                    found.setdefault(table[:length], number)
            elif assign:
                key = _unquote(assign[1])
                found.setdefault((*table, *key), number)
                line = line[assign.end() :]
                for inner in re.findall(rf"[{{,]\s*({_KEY})\s*=", line):
                    found.setdefault((*table, *key, *_unquote(inner)), number)
            if header:
                continue
        stripped = re.sub(r'"(?:[^"\\]|\\.)*"(?!")|\'[^\']*\'(?!\')', '""', line)
        for quotes in ('"""', "'''"):
            if line.count(quotes) % 2:
                closing = quotes
        if closing is None:
            stripped = stripped.split("#", 1)[0]
            depth = max(0, depth + stripped.count("[") - stripped.count("]"))
    return found
