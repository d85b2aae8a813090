"""What every recipe must do; what is added is tested on arrival."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.errors import UsageError
from harness.recipes import RECIPES, parse_recipe
from harness.recipes.recipe import Recipe
from harness.simulation import read_graph

_READY = [
    name
    for name, recipe in RECIPES.items()
    if (recipe.convert or recipe.quantize) and not (recipe.train or recipe.finish)
]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_described_and_written_back(recipe: Recipe) -> None:
    assert RECIPES[recipe.name] is recipe
    assert recipe.summary and recipe.version >= 1
    for parameter in recipe.parameters:
        assert parameter.help
        assert parameter.check(recipe.name, parameter.default) == parameter.default
    plain = parse_recipe(recipe.name)
    assert plain.text == recipe.name
    again = parse_recipe(plain.identity)
    assert again.values == plain.values and again.text == plain.text
    assert again.given == {parameter.name for parameter in recipe.parameters}
    with pytest.raises(UsageError):
        parse_recipe(f"{recipe.name}(no_such=1)")


@pytest.mark.parametrize("name", [name for name in _READY if name != "int8_selective"])
def test_makes_a_file_that_runs(name: str, digits: dict[str, Path]) -> None:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(digits[name]), num_threads=1)
    interpreter.allocate_tensors()
    inside, outside = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    expected = {"int8": np.int8, "uint8_io": np.uint8}.get(name, np.float32)
    assert inside["dtype"] is expected and outside["dtype"] is expected
    interpreter.set_tensor(inside["index"], np.ones(inside["shape"], expected))
    interpreter.invoke()
    assert interpreter.get_tensor(outside["index"]).shape == (1, 10)


@pytest.mark.parametrize("name", [name for name in _READY if RECIPES[name].full_integer])
def test_full_integer_recipes_leave_no_float(name: str, digits: dict[str, Path]) -> None:
    graph = read_graph(digits[name])
    computing = [op for op in graph.operators if op.name not in ("QUANTIZE", "DEQUANTIZE")]
    assert computing and all(op.activation in ("int8", "int32") for op in computing)
    assert graph.full_integer == (name != "int8_float_io")
