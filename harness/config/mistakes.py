"""What pydantic finds wrong with a file, in words for whoever wrote it."""

from __future__ import annotations

import re
import reprlib
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from harness.errors import suggest

#: What a value must be, by pydantic's name for the mistake; of others its own words are fine.
_MUST_BE = {
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "dict_type": "a table",
    "float_parsing": "a number",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_type": "a table",
    "string_type": "text in quotes",
    "tuple_type": "a list",
}

_PROBLEMS = {
    "string_pattern_mismatch": "not of the form that it takes",
    "string_too_short": "empty",
    "too_short": "empty",
}

_shown = reprlib.Repr()
_shown.maxstring = 80


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong; ``where`` as keys and list positions from the root."""

    where: tuple[str | int, ...]
    message: str
    hint: str | None = None


def mistakes(model: type[BaseModel], error: ValidationError, data: Any) -> list[Mistake]:
    """Everything that is wrong with the data; a value that no branch of a union takes, once."""
    by_place: dict[tuple[str | int, ...], list[ErrorDetails]] = {}
    for each in error.errors(include_url=False):
        by_place.setdefault(_place(each, data), []).append(each)
    return [
        _mistake(model, where, each)
        for where, each in by_place.items()
        if not any(other != where and other[: len(where)] == where for other in by_place)
    ]


def _place(error: ErrorDetails, data: Any) -> tuple[str | int, ...]:
    """Where in the file: pydantic also names validators and branches of unions on the way."""
    where: list[str | int] = []
    for part in error["loc"]:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            continue
        where.append(part)
    return (*where, error["loc"][-1]) if error["type"] == "missing" else tuple(where)


def _mistake(
    model: type[BaseModel], where: tuple[str | int, ...], errors: list[ErrorDetails]
) -> Mistake:
    kind = errors[0]["type"]
    name = ".".join(map(str, where)) or "the file"
    name = name if name.isprintable() else repr(name)
    if kind == "extra_forbidden":
        key = str(where[-1])
        known = _at(model, where[:-1])[0].model_fields
        return Mistake(where, f"unknown key {key!r}", suggest(key, known))
    field = _at(model, where)[1]
    what = f" ({field.description})" if field is not None and field.description else ""
    if kind == "missing":
        return Mistake(where, f"{name} is missing{what}")
    first, *others = dict.fromkeys(map(_problem, errors))
    problem = " or ".join([first, *(text.removeprefix("must be ") for text in others)])
    return Mistake(where, f"{name} = {_shown.repr(errors[0]['input'])}: {problem}{what}")


def _problem(error: ErrorDetails) -> str:
    if error["type"] in _MUST_BE:
        return f"must be {_MUST_BE[error['type']]}"
    text = error["msg"].removeprefix("Value error, ")
    return _PROBLEMS.get(error["type"]) or re.sub(r"^[A-Z][a-z]+ should ", "must ", text)


def _at(
    model: type[BaseModel], where: tuple[str | int, ...]
) -> tuple[type[BaseModel], FieldInfo | None]:
    """The innermost model at a place, and the last field on the way."""
    current, last = model, None
    for part in where:
        field = current.model_fields.get(str(part))
        if field is None:
            continue  # a name of the user's own, or a position in a list
        last = field
        arguments = getattr(field.annotation, "__args__", ())
        current = next(
            (item for item in (field.annotation, *arguments) if hasattr(item, "model_fields")),
            current,
        )
    return current, last
