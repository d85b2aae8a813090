"""Why a recipe loses accuracy on a model: what ``harness debug`` does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.datasets import SOURCES, load_split, refuse_shared
from harness.domain import Dataset, Model, Variant
from harness.errors import ConversionError, HarnessError, UsageError
from harness.orchestrate.convert import Splits, convertible_request
from harness.orchestrate.data import store_split
from harness.orchestrate.tasks import check_output_choice
from harness.recipes import RECIPES, parse_recipe
from harness.recipes.making.builder import build
from harness.recipes.making.messages import shorten
from harness.recipes.making.process import TIMEOUT, Worker
from harness.recipes.making.request import BuildRequest, StoredSplit
from harness.simulation import read_graph


@dataclass(frozen=True, slots=True)
class Effort:
    """How thorough an examination is.

    ``local_samples`` are compared operator by operator, ``evaluation_samples`` end to end (0: all
    of them), ``worst`` operators are kept in float one at a time and together.
    """

    local_samples: int = 64
    evaluation_samples: int = 1000
    worst: int = 8


@dataclass(frozen=True, slots=True)
class Examination:
    """What came of it; the fields are those of ``harness.recipes.loss.task.debug``.

    ``operators`` are ranked, the guiltiest first. ``quantized`` is made by ai-edge-quantizer, as
    everything that keeps operators in float is, ``deployed`` is the recipe's own file.
    ``accuracy_noise`` is the difference of accuracies that says nothing on so few samples.
    """

    model: str
    recipe: str
    samples: int
    local_samples: int
    float_file: Mapping[str, Any]
    deployed: Mapping[str, Any]
    quantized: Mapping[str, Any]
    accuracy_noise: float
    operators: Sequence[Mapping[str, Any]]
    together: Sequence[Mapping[str, Any]]


def debug(
    model: Model,
    recipe: str,
    evaluation: Dataset,
    splits: Splits,
    effort: Effort,
    *,
    progress: Callable[[str, Mapping[str, Any]], None] = lambda recipe, said: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Examination:
    """Rank a model's operators by what quantizing them costs.

    Raises ``UsageError`` for a recipe that cannot keep operators in float,
    ``ConversionError`` where a file cannot be made or compared, or where nobody said by which of
    several outputs.
    """
    chosen = parse_recipe(recipe)
    if chosen.recipe.quantize is None:
        able = [name for name, item in RECIPES.items() if item.quantize]
        raise UsageError(
            f"the recipe {chosen.recipe.name} cannot keep single operators in float, so there "
            "is nothing to compare it with",
            hint="debug one of " + ", ".join(able),
        )
    request = convertible_request(model, chosen, splits)
    evaluation = replace(evaluation, unlabelled=True)
    labelled = load_split(evaluation, SOURCES, "evaluation", count=effort.evaluation_samples)
    _refuse_shared(labelled.samples, request)
    stored = store_split(labelled, "evaluation")
    float_file, quantized = _files(request, progress, stopped)
    ends = [{"shape": list(tensor.shape)} for tensor in read_graph(float_file).outputs]
    check_output_choice(model, ends, accuracy=True)
    task = {
        "task": "debug",
        "model": model.name,
        "recipe": request.identity,
        "float_file": str(float_file),
        "quantized": str(quantized),
        "samples": str(stored.samples),
        "labels": str(stored.labels) if stored.labels else None,
        "calibration": _path(request.calibration),
        "preprocessing": request.preprocessing.as_json(),
        "output": model.output or 0,
        "local_samples": min(effort.local_samples, stored.count),
        "worst": effort.worst,
    }
    with Worker(TIMEOUT) as worker:
        number = worker.submit(task, tensorflow=False)
        for _, message in worker.messages(stopped):
            if "progress" in message:
                progress(chosen.text, message["progress"])
            elif not message["ok"]:
                raise ConversionError(
                    f"debugging {model.name} with {chosen.text} failed: "
                    f"{shorten(message['error'])}",
                    hint=message.get("hint"),
                )
        if stopped():
            raise HarnessError("stopped", hint="the files that were made are in the cache")
        found = json.loads(Path(worker.part(number)).read_text())
    return Examination(model=request.model.model.name, **found)


def _refuse_shared(evaluated: NDArray[Any], request: BuildRequest) -> None:
    """Calibration and training samples must not be evaluated; raises ``DatasetError``."""
    for name, split in (("calibration", request.calibration), ("training", request.training)):
        if split is not None:
            samples = np.load(split.samples, allow_pickle=False)
            if samples.dtype == evaluated.dtype and samples.shape[1:] == evaluated.shape[1:]:
                refuse_shared("the evaluation samples", name, samples, evaluated)


def _path(split: StoredSplit | None) -> str | None:
    return str(split.samples) if split else None


def _files(
    request: BuildRequest,
    progress: Callable[[str, Mapping[str, Any]], None],
    stopped: Callable[[], bool],
) -> tuple[Path, Path]:
    """The float file and the recipe's, made where they are not in the cache."""
    wanted = [request]
    if request.model.convertible:
        wanted.insert(0, request.float_request())
    made: dict[str, Path] = {}

    def done(item: BuildRequest, outcome: Variant | HarnessError, _cached: bool) -> None:
        if isinstance(outcome, HarnessError):
            raise outcome
        made[item.recipe] = outcome.path

    build(wanted, done, stopped, lambda item, said: progress(item.recipe, said))
    if len(made) < len({item.recipe for item in wanted}):
        raise HarnessError("stopped", hint="the files that were made are in the cache")
    return made.get("float32", request.model.path), made[request.recipe]
