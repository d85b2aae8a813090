"""Gates: from the tables of a suite, or of a file of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.config.schema import GatesAlone, GatesFile, SuiteFile
from harness.config.toml_source import Path_, TomlSource
from harness.domain import Backend, Gate
from harness.domain.gate import LIMITS
from harness.errors import UsageError

#: Any run's id and any baseline's name, but not what changes while one looks.
_MOVING = "last"


def gates_from(
    source: TomlSource,
    tables: Sequence[GatesFile],
    names: Mapping[str, Sequence[str]],
    recipe: Callable[[str], str],
) -> tuple[Gate, ...]:
    """The gates of these tables, which stand under ``gates`` in the source.

    ``names`` has the ``models``, ``recipes`` and ``devices`` that there are (a key that is
    missing: any), ``recipe`` gives a recipe's shortest text. Raises ``ConfigError``.
    """
    several = isinstance(source.data.get("gates"), list)
    return tuple(
        _gate(source, ("gates", index) if several else ("gates",), table, names, recipe)
        for index, table in enumerate(tables)
    )


def load_gates(path: Path, recipe: Callable[[str], str]) -> tuple[Gate, ...]:
    """The gates of a suite's file, or of one that holds nothing else.

    Nothing else of the suite is looked at: its models and data need not be here. Raises
    ``ConfigError``, also where the file has no gates.
    """
    source = TomlSource(path)
    alone = not source.data.keys() - {"gates"}
    file = source.validate(GatesAlone) if alone else source.validate(SuiteFile)
    if not file.gates:
        raise source.error((), "there are no gates in this file", hint="add a [gates] table")
    return gates_from(source, file.gates, {}, recipe)


def _gate(
    source: TomlSource,
    where: Path_,
    table: GatesFile,
    names: Mapping[str, Sequence[str]],
    recipe: Callable[[str], str],
) -> Gate:
    limits: dict[str, Any] = {name: getattr(table, name) for name in LIMITS}
    if all(value is None for value in limits.values()):
        raise source.error(where, "this gate sets no bound", hint="known: " + ", ".join(LIMITS))
    if table.no_regression_against == _MOVING:
        raise source.error(
            (*where, "no_regression_against"),
            "the newest run is the one that is looked at",
            hint="name a baseline (harness baseline set RUN), or a run's id",
        )
    if table.allow and table.no_regression_against is None:
        raise source.error(
            (*where, "allow"), "allow is for no_regression_against, which this gate does not set"
        )
    texts = [
        _one(source, (*where, "recipes", index), recipe, text)
        for index, text in enumerate(table.recipes)
    ]
    backends = [
        _one(source, (*where, "backends", index), lambda text: str(Backend.parse(text)), text)
        for index, text in enumerate(table.backends)
    ]
    chosen = {"models": table.models, "recipes": texts, "devices": table.devices}
    for key, values in chosen.items():
        for index, value in enumerate(values):
            if key in names and value not in names[key]:
                raise source.unknown((*where, key, index), key.removesuffix("s"), value, names[key])
    return Gate(
        **limits,
        models=tuple(table.models),
        recipes=tuple(texts),
        devices=tuple(table.devices),
        backends=tuple(backends),
        allow=tuple(table.allow),
    )


def _one(source: TomlSource, where: Path_, parse: Callable[[str], str], text: str) -> str:
    try:
        return parse(text)
    except (UsageError, ValueError) as error:
        hint = error.hint if isinstance(error, UsageError) else None
        message = error.message if isinstance(error, UsageError) else str(error)
        raise source.error(where, message, hint=hint) from None
