from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.config.suites import load_suite
from harness.errors import ConfigError, UsageError
from harness.orchestrate.environment import known_names
from harness.recipes import RECIPES, parse_recipe
from harness.recipes.recipe import Parameter, Recipe, parse, written

#: One parameter of every type.
EVERY = Recipe(
    name="every",
    summary="one of each",
    parameters=(
        Parameter("yes", False, "truth"),
        Parameter("count", 3, "a whole number", -1000, 1000),
        Parameter("rate", 0.5, "a number"),
        Parameter("word", "plain", "a text"),
        Parameter("kind", "one", "a choice", choices=("one", "two")),
        Parameter("names", (), "texts"),
    ),
)
RECIPE = {"every": EVERY}
#: TOML holds no other control characters in a text, nor lone surrogates.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.text(
    "ab=,\"'\\ [", max_size=12
)


@st.composite
def values(draw: st.DrawFn) -> dict[str, Any]:
    """Values for some of the parameters."""
    each: dict[str, st.SearchStrategy[Any]] = {
        "yes": st.booleans(),
        "count": st.integers(-1000, 1000),
        "rate": st.floats(allow_nan=False, allow_infinity=False),
        "word": TEXTS,
        "kind": st.sampled_from(["one", "two"]),
        "names": st.lists(TEXTS, max_size=4),
    }
    names = draw(st.sets(st.sampled_from(sorted(each))))
    return {name: draw(each[name]) for name in sorted(names)}


@given(values())
def test_what_is_written_is_read_back(given: dict[str, Any]) -> None:
    chosen = parse({"recipe": "every", **given}, RECIPE)
    again = parse(chosen.identity, RECIPE)
    assert again.values == chosen.values
    assert again.identity == chosen.identity and again.text == chosen.text
    short = parse(chosen.text, RECIPE)
    assert short.values == chosen.values and short.text == chosen.text


@given(values(), values())
def test_other_values_have_another_identity(one: dict[str, Any], two: dict[str, Any]) -> None:
    first, second = (parse({"recipe": "every", **item}, RECIPE) for item in (one, two))
    assert (first.identity == second.identity) == (first.values == second.values)
    assert (first.text == second.text) == (first.values == second.values)


@given(TEXTS)
def test_any_text_is_read_or_refused(text: str) -> None:
    for whole in (text, f"every({text})", f"every(word={text})"):
        try:
            assert parse(whole, RECIPE).recipe is EVERY
        except UsageError as error:
            assert error.message


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("every(word=mirrored)", "word", "mirrored"),
        ("every(word = mirrored , count=4)", "word", "mirrored"),
        ('every(word="a, b = c")', "word", "a, b = c"),
        ("every(word=a/b:c-d.e)", "word", "a/b:c-d.e"),
        ("every(names=one)", "names", ("one",)),
        ('every(names=["one", "two"])', "names", ("one", "two")),
        ("every(names=[])", "names", ()),
        ('every(names=["a=b,c"])', "names", ("a=b,c",)),
        ('every(names=["a=b,c", "it\'s"], word=mirrored)', "names", ("a=b,c", "it's")),
        ("every(names=['a=b,c\\', '\"=d,'], word=mirrored)", "names", ("a=b,c\\", '"=d,')),
        ('every(word="\\"=b,c", kind=two)', "word", '"=b,c'),
        ("every(rate=1)", "rate", 1.0),
        ("every(rate=1e-3)", "rate", 0.001),
        ("every(yes=true)", "yes", True),
        (" every ( count = -7 ) ", "count", -7),
        ("every()", "count", 3),
    ],
)
def test_ways_to_write_a_value(text: str, name: str, value: object) -> None:
    found = parse(text, RECIPE)[name]
    assert found == value and type(found) is type(value)


def test_the_shortest_text_leaves_defaults_out() -> None:
    chosen = parse_recipe("int8(per_channel=true, calibration=100)")
    assert chosen.text == "int8(calibration=100)"
    assert chosen.given == {"per_channel", "calibration"}
    assert chosen.identity == ("int8(calibration=100, per_channel=true, dense_per_channel=false)")
    assert written("float32", {}) == "float32"
    assert written("a", {"x": 1e-7, "y": ("u", 'v"')}) == 'a(x=1e-07, y=["u", "v\\""])'


def test_nested_tables_name_their_parameters() -> None:
    table = {"recipe": "qat_int8", "bits": {"weights": 4, "activations": 6}, "epochs": 2}
    chosen = parse_recipe(table)
    assert (chosen["weight_bits"], chosen["activation_bits"], chosen["epochs"]) == (4, 6, 2)
    text = parse_recipe("qat_int8(bits = {weights = 4, activations = 6}, epochs = 2)")
    assert text.values == chosen.values and text.given == chosen.given
    with pytest.raises(UsageError, match=r"no parameter 'weigth_bits'") as caught:
        parse_recipe("qat_int8(bits={weigths=4})")
    assert "'weight_bits'" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("int9", "unknown recipe 'int9'", "'int8'"),
        ("int8(calibraton=3)", "no parameter 'calibraton'", "'calibration'"),
        ("float32(calibration=3)", "no parameter 'calibration'", "none"),
        ("int8(calibration=0)", "calibration is 1 to 100000, not 0", ""),
        ("int8(calibration=100001)", "calibration is 1 to", ""),
        ("int8(calibration=2.0)", "takes a whole number, not 2.0", ""),
        ("int8(calibration=true)", "takes a whole number, not True", ""),
        ("int8(calibration=many)", "takes a whole number, not 'many'", ""),
        ("int8(per_channel=1)", "takes true or false, not 1", ""),
        ("int8(per_channel=yes)", "takes true or false, not 'yes'", ""),
        ("int8_selective(keep_float=[1])", "takes a list of texts", ""),
        ("int8_selective(keep_float=3)", "takes a list of texts", ""),
        ("qat_int8(strategy=mirorred)", "strategy is one of", ""),
        ("qat_int8(learning_rate=fast)", "takes a number, not 'fast'", ""),
        ("int8(calibration)", "cannot read the parameters", "name=value"),
        ("int8(calibration=1, calibration=2)", "cannot read the parameters", ""),
        ("int8(calibration=1", "is no recipe", "calibration=100"),
        ("int8) (", "is no recipe", ""),
        ("", "is no recipe", ""),
        ("8int", "is no recipe", ""),
    ],
)
def test_what_is_no_recipe(text: str, said: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_recipe(text)
    assert said in caught.value.message and hint in (caught.value.hint or "")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("rate", ["nan", "inf", "-inf"])
def test_numbers_that_are_none_are_refused(rate: str) -> None:
    with pytest.raises(UsageError, match="learning_rate"):
        parse_recipe(f"qat_int8(learning_rate={rate})")
    with pytest.raises(UsageError, match="rate"):
        parse({"recipe": "every", "rate": math.nan}, RECIPE)


def test_a_parameter_that_is_given_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="weight_bits"):
        parse_recipe("qat_int8(weight_bits=4, bits={weights=5})")


@pytest.mark.parametrize("table", [{}, {"recipe": ""}, {"recipe": 3}, {"name": "int8"}])
def test_tables_that_name_no_recipe(table: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="names its recipe"):
        parse_recipe(table)


@pytest.mark.parametrize(
    ("entry", "said", "hint"),
    [
        ('"int8(calibraton=3)"', "no parameter 'calibraton'", "'calibration'"),
        ('{ recipe = "int8", calibraton = 3 }', "no parameter 'calibraton'", "'calibration'"),
        ('{ recipe = "int9" }', "unknown recipe 'int9'", "'int8'"),
        ("{ calibration = 3 }", "names its recipe", "recipe ="),
        ('{ recipe = "qat_int8", bits = { weights = 1 } }', "weight_bits is 2 to 8", ""),
        ('"int8(calibration=x)"', "a whole number, not 'x'", ""),
    ],
)
def test_suites_say_where_a_recipe_is_wrong(
    suite_file: Callable[..., Path], entry: str, said: str, hint: str
) -> None:
    path = suite_file()
    text = re.sub(r"recipes = .*", f'recipes = [\n  "float32",\n  {entry},\n]', path.read_text())
    path.write_text(text)
    line = next(at for at, row in enumerate(text.splitlines(), 1) if entry in row)
    with pytest.raises(ConfigError) as caught:
        load_suite(path, known_names())
    assert str(caught.value).startswith(f"{path}:{line}: "), str(caught.value)
    assert said in str(caught.value) and hint in (caught.value.hint or "")


def test_a_suite_takes_each_recipe_once(suite_file: Callable[..., Path]) -> None:
    path = suite_file()
    entries = (
        '["int8", "int8()", "int8(calibration=200)", { recipe = "int8", per_channel = true }, '
        '"int8(calibration=50)", "int8( calibration = 50 )"]'
    )
    path.write_text(re.sub(r"recipes = .*", f"recipes = {entries}", path.read_text()))
    assert load_suite(path, known_names()).recipes == ("int8", "int8(calibration=50)")


def test_every_shipped_parameter_refuses_what_is_beyond_its_bounds() -> None:
    checked = 0
    for recipe in RECIPES.values():
        for parameter in recipe.parameters:
            for bound, step in ((parameter.low, -1), (parameter.high, 1)):
                if bound is not None:
                    assert parameter.check(recipe.name, type(parameter.default)(bound)) == bound
                    with pytest.raises(UsageError):
                        parameter.check(recipe.name, type(parameter.default)(bound + step))
                    checked += 1
    assert checked > 20
