"""Converting several models at once, and running what came of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.config.sources import named_dataset, source_model
from harness.domain import Preprocessing, Variant
from harness.errors import ConversionError, HarnessError, ModelError
from harness.orchestrate.convert import Splits, convertible_request
from harness.recipes import RECIPES, parse_recipe
from harness.recipes.making.builder import build

#: Digits are 0 to 16.
SCALE = Preprocessing(scale=1 / 16)

#: The ones that make a file of the digits without a training, a compiler or a list of layers.
PLAIN = [
    name
    for name, recipe in RECIPES.items()
    if (recipe.convert or recipe.quantize)
    and not (recipe.train or recipe.finish)
    and name != "int8_selective"
]


@dataclass(frozen=True)
class Outcomes:
    """What came of a model and a recipe."""

    found: Mapping[tuple[str, str], Variant | HarnessError]

    def ok(self, source: str, recipe: str) -> Variant:
        outcome = self.found[source, recipe]
        assert isinstance(outcome, Variant), outcome
        return outcome

    def refused(self, source: str, recipe: str, said: str) -> None:
        outcome = self.found[source, recipe]
        assert isinstance(outcome, ConversionError | ModelError), outcome
        assert said in str(outcome), outcome
        assert len(str(outcome)) < 900 and "Traceback" not in str(outcome)


def outcomes(folder: Path, wanted: Sequence[tuple[str, str]], **limits: Any) -> Outcomes:
    """Convert all in one go; sources are relative to ``folder``."""
    data = named_dataset("data", "digits")
    requests = {}
    before = Path.cwd()
    os.chdir(folder)
    try:
        for source, recipe in wanted:
            model = source_model(source, SCALE)
            chosen = parse_recipe(recipe)
            requests[source, recipe] = convertible_request(model, chosen, Splits(data, data))
        places = {request.key(): place for place, request in requests.items()}
        assert len(places) == len(wanted)
        found: dict[tuple[str, str], Variant | HarnessError] = {}

        def done(request: Any, outcome: Variant | HarnessError, _cached: bool) -> None:
            found[places[request.key()]] = outcome

        build(list(requests.values()), done, **limits)
    finally:
        os.chdir(before)
    assert set(found) == set(wanted)
    return Outcomes(found)


def run(path: Path, *inputs: Any) -> list[Any]:
    """The outputs of a file in the runtime; zeros where no inputs are given."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    details = interpreter.get_input_details()
    for position, detail in enumerate(details):
        value = inputs[position] if inputs else np.zeros(detail["shape"], detail["dtype"])
        interpreter.set_tensor(detail["index"], value.astype(detail["dtype"]))
    interpreter.invoke()
    return [interpreter.get_tensor(item["index"]) for item in interpreter.get_output_details()]
