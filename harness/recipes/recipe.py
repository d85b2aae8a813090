"""What a recipe is, and how one is written with its parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.domain.parameters import Parameter, Value, Values, literal, read_call, written
from harness.errors import UsageError, suggest

__all__ = [
    "ChosenRecipe",
    "Operators",
    "Parameter",
    "Recipe",
    "Value",
    "Values",
    "literal",
    "parse",
    "written",
]

#: Of each operator of a float file: its type and the name of the tensor that it makes.
Operators = Sequence[tuple[str, str]]


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


def parse(value: str | Mapping[str, Any], recipes: Mapping[str, Recipe]) -> ChosenRecipe:
    """A recipe from ``"int8(calibration=100)"`` or ``{recipe = "int8", calibration = 100}``.

    Values are written as in TOML; a text may stand without its quotes. A nested table gives
    the parameters ``<inner>_<outer>`` with the outer name in the singular: ``bits = {weights
    = 4}`` is ``weight_bits = 4``. Raises ``UsageError`` naming the nearest valid name.
    """
    if isinstance(value, str):
        name, settings = read_call("recipe", value, "int8(calibration=100)")
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
        key: parameter.check(f"recipe {name}", given[key]) if key in given else parameter.default
        for key, parameter in known.items()
    }
    return ChosenRecipe(recipe, values, frozenset(given))


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
