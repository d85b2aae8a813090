"""What a recipe is, and how one is written with its parameters."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.errors import UsageError, suggest

#: What a parameter may hold.
Value = bool | int | float | str | tuple[str, ...]

#: Parameter -> value; each was checked against its parameter when the recipe was parsed.
Values = Mapping[str, Any]

#: Of each operator of a float file: its type and the name of the tensor that it makes.
Operators = Sequence[tuple[str, str]]

_NAME = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\((.*)\))?\s*", re.DOTALL)
_BARE = re.compile(r"[A-Za-z0-9_./:-]+")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')


@dataclass(frozen=True, slots=True)
class Parameter:
    """One setting of a recipe; its type is that of ``default``.

    Numbers lie within ``low`` and ``high``, texts in ``choices`` where there are any.
    """

    name: str
    default: Value
    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()

    def check(self, recipe: str, value: Any) -> Value:
        """``value`` as this parameter's type; raises ``UsageError``."""
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
            raise UsageError(f"recipe {recipe}: {self.name} takes {expected}, not {value!r}")
        if self.choices and value not in self.choices:
            raise UsageError(
                f"recipe {recipe}: {self.name} is one of {', '.join(self.choices)}, not {value!r}"
            )
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._check_number(recipe, value)
        checked: Value = value
        return checked

    def _check_number(self, recipe: str, value: float) -> None:
        if not math.isfinite(value):
            raise UsageError(f"recipe {recipe}: {self.name} takes a number, not {value}")
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        if not low <= value <= high:
            raise UsageError(f"recipe {recipe}: {self.name} is {low:g} to {high:g}, not {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A named conversion; its functions run in a conversion process.

    ``convert(tf, converter, values)`` sets a ``tf.lite.TFLiteConverter`` up.
    ``quantize(quantizer, values, operators)`` sets an ``ai_edge_quantizer.Quantizer`` up, over
    a float ``.tflite``: a ready one, or the model's ``float32`` variant where there is no
    ``convert``.
    ``train(source, request, values, tell)`` changes the model before it is converted.
    ``finish(path, values)`` makes the deployable file from the converted one.
    With none of them the source file is deployed as it is.

    ``version`` changes whenever the same input would give another file. ``full_integer``
    promises a variant without float operators, which is verified; ``integer_ends`` that the
    input and the output are integers too.
    """

    name: str
    summary: str
    parameters: tuple[Parameter, ...] = ()
    convert: Callable[[Any, Any, Values], None] | None = None
    quantize: Callable[[Any, Values, Operators], None] | None = None
    train: Callable[[Any, Any, Values, Any], Any] | None = None
    finish: Callable[[Any, Values], Any] | None = None
    needs_calibration: bool = False
    full_integer: bool = False
    integer_ends: bool = False
    version: int = 1

    @property
    def needs_training(self) -> bool:
        """Whether it trains, and so needs a training split."""
        return self.train is not None

    def calibrates(self, *, convertible: bool) -> bool:
        """Whether it takes calibration samples; of a ready file some recipes only use the rest."""
        return self.needs_calibration and (convertible or self.quantize is not None)

    @property
    def unchanged(self) -> bool:
        """Whether the source file is deployed as it is."""
        return self.convert is None and self.quantize is None and self.finish is None

    @property
    def from_float_file(self) -> bool:
        """Whether a model goes through its ``float32`` variant."""
        return self.convert is None and self.quantize is not None


@dataclass(frozen=True, slots=True)
class ChosenRecipe:
    """A recipe with values for its parameters; ``given`` names those that were written."""

    recipe: Recipe
    values: Mapping[str, Value] = field(default_factory=dict)
    given: frozenset[str] = frozenset()

    @property
    def text(self) -> str:
        """The shortest text that means it: only what differs from the defaults."""
        differing = {
            parameter.name: self.values[parameter.name]
            for parameter in self.recipe.parameters
            if self.values[parameter.name] != parameter.default
        }
        return written(self.recipe.name, differing)

    @property
    def identity(self) -> str:
        """Every parameter with its value, as in ``int8(calibration=200, per_channel=true)``."""
        return written(self.recipe.name, self.values)

    def __getitem__(self, name: str) -> Value:
        return self.values[name]


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


def parse(value: str | Mapping[str, Any], recipes: Mapping[str, Recipe]) -> ChosenRecipe:
    """A recipe from ``"int8(calibration=100)"`` or ``{recipe = "int8", calibration = 100}``.

    Values are written as in TOML; a text may stand without its quotes. A nested table gives
    the parameters ``<inner>_<outer>`` with the outer name in the singular: ``bits = {weights
    = 4}`` is ``weight_bits = 4``. Raises ``UsageError`` naming the nearest valid name.
    """
    if isinstance(value, str):
        match = _NAME.fullmatch(value)
        if not match:
            raise UsageError(
                f"{value!r} is no recipe",
                hint='a name, or a name with parameters: "int8(calibration=100)"',
            )
        name, settings = match[1], _arguments(match[1], match[2])
    else:
        settings = dict(value)
        name = settings.pop("recipe", "")
        if not isinstance(name, str) or not name:
            raise UsageError(
                "a recipe table names its recipe",
                hint='for example { recipe = "int8", calibration = 100 }',
            )
    if name not in recipes:
        raise UsageError(f"unknown recipe {name!r}", hint=suggest(name, recipes))
    recipe = recipes[name]
    known = {parameter.name: parameter for parameter in recipe.parameters}
    given = _flat(name, settings)
    for key in given:
        if key not in known:
            hint = suggest(key, known) if known else "it takes none"
            raise UsageError(f"recipe {name} has no parameter {key!r}", hint=hint)
    values = {
        key: parameter.check(name, given[key]) if key in given else parameter.default
        for key, parameter in known.items()
    }
    return ChosenRecipe(recipe, values, frozenset(given))


def _arguments(name: str, text: str | None) -> dict[str, Any]:
    if text is None or not text.strip():
        return {}
    for attempt in (text, _quoted(text)):
        try:
            return dict(tomllib.loads(f"given = {{ {attempt.strip()} }}")["given"])
        except tomllib.TOMLDecodeError:
            continue
    raise UsageError(
        f"recipe {name}: cannot read the parameters ({text})",
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
        except tomllib.TOMLDecodeError:
            return f"{match[1]}{json.dumps(word)}"

    return re.sub(rf"{_TEXT.pattern}|(=\s*)({_BARE.pattern})(?=\s*(?:,|$))", quote, text.strip())


def _flat(recipe: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        named = {key: value}
        if isinstance(value, Mapping):
            named = {f"{inner.rstrip('s')}_{key}": item for inner, item in value.items()}
        for name, item in named.items():
            if name in flat:
                raise UsageError(f"recipe {recipe}: {name} is given twice")
            flat[name] = item
    return flat
