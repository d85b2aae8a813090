"""Which operators a search keeps in float."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.decide.candidates import Candidate
from harness.orchestrate.debug import Examination
from harness.recipes import parse_recipe
from harness.recipes.recipe import written
from harness.recipes.shared import INTEGER

#: How many selective recipes are measured at most.
_MOST = 6

#: How a full-integer recipe that broke its promise names the operators that did it.
_LEFT = re.compile(r"left something in float: (.*?)(?:;|$)", re.DOTALL)
_OPERATOR = re.compile(r"(\w+) \(operator \d+")


def left_in_float(tried: Iterable[Candidate]) -> tuple[str, ...]:
    """The types of the operators that know no integers, as the failed recipes name them."""
    errors = (_LEFT.search(item.error) for item in tried)
    return tuple(
        dict.fromkeys(name for said in errors if said for name in _OPERATOR.findall(said[1]))
    )


def to_examine(recipes: Sequence[str], floats: Sequence[str]) -> str:
    """The integer recipe to look into: without ``floats``, where there are such."""
    whole = [text for text in recipes if not text.startswith("int8_selective")]
    integer = next((text for text in whole if text.startswith("int8")), "int8")
    return _selective(parse_recipe(integer).values, floats) if floats else integer


def selections(examined: str, found: Examination | None) -> list[str]:
    """``int8_selective`` recipes for the steps of the forward selection, some of many.

    Each keeps what the ``examined`` recipe keeps; that one is the first, if it is selective.
    """
    values: Mapping[str, Any] = parse_recipe(examined).values
    kept: tuple[str, ...] = values.get("keep_float", ())
    sets = [kept] if kept else []
    if found is not None:
        sets += [(*kept, *item["keep_float"]) for item in found.together]
        worst = [row["layer"] for row in found.operators if (row["rmse_over_scale"] or 0) > 1]
        if worst:
            sets.append((*kept, *worst))
    if len(sets) > _MOST:
        step = (len(sets) - 1) / (_MOST - 1)
        sets = [sets[round(index * step)] for index in range(_MOST)]
    return list(dict.fromkeys(_selective(values, names) for names in sets))


def _selective(values: Mapping[str, Any], names: Sequence[str]) -> str:
    shared = {item.name: values[item.name] for item in INTEGER if item.name in values}
    return parse_recipe(written("int8_selective", {"keep_float": tuple(names), **shared})).text
