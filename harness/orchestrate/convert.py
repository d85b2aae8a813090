"""Variants as files, without a suite: what ``harness convert`` does."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.cache import json_sha256, whole_file
from harness.datasets import SOURCES, lint, load_split
from harness.domain import Dataset, Model, Task, Variant
from harness.errors import DatasetError, HarnessError, NotDeployableError, UsageError
from harness.models import ResolvedModel
from harness.orchestrate.data import calibration_count, store_split
from harness.orchestrate.plan import refuse_misfit, resolve
from harness.recipes import RECIPES, ChosenRecipe, parse_recipe
from harness.recipes.edgetpu_compiler import INSTALL_PAGE, TOOL, tool_version
from harness.recipes.making.builder import build, build_builtin
from harness.recipes.making.builtin import PREFIX
from harness.recipes.making.process import TIMEOUT
from harness.recipes.making.request import BuildRequest, StoredSplit

#: What ``--recipe`` takes for every recipe that applies.
ALL = "all"


@dataclass(frozen=True, slots=True)
class Converted:
    """What came of one recipe: a ``file`` with its manifest, or the reason why there is none.

    ``status`` is ``ok``, ``failed``, ``skipped``, or ``evaluated`` for an experiment without a
    file; ``cached`` tells that nothing was made anew.
    """

    recipe: str
    status: str
    file: Path | None = None
    manifest_file: Path | None = None
    variant: Variant | None = None
    cached: bool = False
    reason: str = ""
    evaluation: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Splits:
    """The samples that recipes may take: for their ranges, and to train on."""

    calibration: Dataset | None = None
    training: Dataset | None = None


def convert(
    model: Model,
    recipes: Sequence[str],
    out: Path,
    splits: Splits,
    *,
    done: Callable[[Converted], None] = lambda converted: None,
    progress: Callable[[str, Mapping[str, Any]], None] = lambda recipe, said: None,
    stopped: Callable[[], bool] = lambda: False,
    timeout: float = TIMEOUT,
    memory_limit: int = 0,
    tensorboard: Path | None = None,
) -> list[Converted]:
    """Make the variants of one model and put them into ``out`` with their manifests.

    ``recipes`` are texts, or ``all`` for every one that applies to the model and the splits.
    What is in the cache is copied from it. Raises ``UsageError`` for what can never work:
    a model that cannot be read, a recipe that does not apply, a folder that cannot be made.
    """
    resolved = found_model(model)
    said_more = model.preprocessing_given or bool(model.labels)
    chosen, skipped = _choose(resolved, recipes, splits, said_more=said_more)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {out}: {error.strerror}") from None
    requests = [
        replace(
            request,
            tensorboard=tensorboard and tensorboard / file_name(model.name, request.recipe),
        )
        for request in _requests(resolved, chosen, splits)
    ]
    found: dict[str, Converted] = {}
    for item in skipped:
        found[item.recipe] = item
        done(item)

    def finished(request: BuildRequest, outcome: Variant | HarnessError, cached: bool) -> None:
        if isinstance(outcome, Variant):
            converted = _written(outcome, out, cached)
        elif isinstance(outcome, NotDeployableError):
            converted = Converted(
                request.recipe, "evaluated", reason=outcome.message, evaluation=outcome.evaluation
            )
        else:
            converted = Converted(request.recipe, "failed", reason=outcome.one_line)
        found[request.recipe] = converted
        done(converted)

    def said(request: BuildRequest, message: Mapping[str, Any]) -> None:
        progress(request.recipe, message)

    build(requests, finished, stopped, said, timeout=timeout, memory_limit=memory_limit)
    for one in chosen:
        if one.text not in found:
            found[one.text] = Converted(one.text, "skipped", reason="stopped before it was made")
            done(found[one.text])
    order = [item.text for item in chosen] + [item.recipe for item in skipped]
    return [found[text] for text in order if text in found]


def convertible_request(model: Model, chosen: ChosenRecipe, splits: Splits) -> BuildRequest:
    """The request for one recipe of a model that is named outside of a suite.

    Raises ``UsageError`` where the model, the recipe and the splits do not go together.
    """
    resolved = found_model(model)
    refuse_misfit(resolved.model, chosen, convertible=resolved.convertible)
    missing = missing_split(resolved, chosen, splits)
    if missing:
        raise UsageError(f"the recipe {chosen.text} {missing}")
    (request,) = _requests(resolved, [chosen], splits)
    return request


def found_model(model: Model) -> ResolvedModel:
    """The model of a source, made first where it is a built-in one; raises ``ModelError``."""
    if model.source.startswith(PREFIX):
        build_builtin(model.source.removeprefix(PREFIX))
    return resolve(model)


def _choose(
    resolved: ResolvedModel, texts: Sequence[str], splits: Splits, *, said_more: bool
) -> tuple[list[ChosenRecipe], list[Converted]]:
    """Recipes to make, each once, and those of ``all`` that do not apply with the reason."""
    chosen: dict[str, ChosenRecipe] = {}
    skipped: list[Converted] = []
    for text in texts:
        if text != ALL:
            one = parse_recipe(text)
            refuse_misfit(resolved.model, one, convertible=resolved.convertible)
            missing = missing_split(resolved, one, splits)
            if missing:
                raise UsageError(f"the recipe {one.text} {missing}")
            if one.recipe.unchanged and said_more:
                raise UsageError(
                    "as_is changes nothing, so preprocessing and labels cannot go into the file",
                    hint="leave --scale, --mean, --std and --labels out",
                )
            chosen[one.text] = one
            continue
        for name in RECIPES:
            one = parse_recipe(name)
            reason = _why_not(resolved, one, splits)
            if reason is None:
                chosen[name] = one
            elif name not in chosen:
                skipped.append(Converted(name, "skipped", reason=reason))
    return list(chosen.values()), [item for item in skipped if item.recipe not in chosen]


def _why_not(resolved: ResolvedModel, chosen: ChosenRecipe, splits: Splits) -> str | None:
    if chosen.recipe.name == "int8_selective":
        return "it needs the names of what stays in float: int8_selective(keep_float=[...])"
    if chosen.recipe.finish is not None and tool_version() == "none":
        return (
            f"{TOOL} is not installed ({INSTALL_PAGE}); "
            "harness inspect shows what would map of the int8 file"
        )
    try:
        refuse_misfit(resolved.model, chosen, convertible=resolved.convertible)
    except UsageError as error:
        return error.message
    return missing_split(resolved, chosen, splits)


def missing_split(resolved: ResolvedModel, chosen: ChosenRecipe, splits: Splits) -> str | None:
    """What a recipe needs and has no samples for, in words; ``None`` where nothing is missing."""
    if chosen.recipe.needs_training and splits.training is None:
        return "trains: give it labelled samples with --train"
    calibrates = chosen.recipe.calibrates(convertible=resolved.convertible)
    if calibrates and splits.calibration is splits.training is None:
        return "calibrates: give it samples with --calibration"
    return None


def _requests(
    resolved: ResolvedModel, chosen: Sequence[ChosenRecipe], splits: Splits
) -> list[BuildRequest]:
    calibrations: dict[int, StoredSplit] = {}
    source = splits.calibration or splits.training
    for one in chosen:
        if source is None or not one.recipe.needs_calibration:
            continue
        count = calibration_count(one, source)
        if count not in calibrations:
            calibrations[count] = _looked_over(resolved, source, "calibration", count)
    training = None
    if splits.training is not None and any(one.recipe.needs_training for one in chosen):
        training = _looked_over(resolved, splits.training, "training")
    return [
        BuildRequest(
            resolved,
            one,
            resolved.model.preprocessing,
            calibrations[calibration_count(one, source)]
            if source and one.recipe.needs_calibration
            else None,
            training if one.recipe.needs_training else None,
        )
        for one in chosen
    ]


def _looked_over(
    resolved: ResolvedModel, source: Dataset, what: str, count: int = 0
) -> StoredSplit:
    """The stored samples of a split and what is suspicious about them; raises ``DatasetError``."""
    model = resolved.model
    split = load_split(source, SOURCES, what, model.task, count=count)
    if what == "training" and model.labels and split.class_names not in ((), model.labels):
        raise DatasetError(
            f"the {what} folders {', '.join(split.class_names[:10])} are not the model's labels "
            f"{', '.join(model.labels[:10])} in their order",
            hint="folders are numbered as their names sort: order labels and outputs alike",
        )
    classes = 0
    if split.labels is not None and model.task is Task.CLASSIFICATION:
        classes = int(split.labels.max()) + 1
    scale = model.preprocessing.scale
    return store_split(
        split, what, lint(source.name, split, what=what, classes=classes, scale=scale)
    )


def _written(variant: Variant, out: Path, cached: bool) -> Converted:
    """Copy a variant and its manifest to where the user wants them."""
    name = file_name(variant.model, variant.recipe)
    file, manifest_file = out / f"{name}.tflite", out / f"{name}.json"
    try:
        with whole_file(file) as part:
            shutil.copyfile(variant.path, part)
            part.chmod(0o644)
        with whole_file(manifest_file) as part:
            part.write_text(json.dumps(dict(variant.manifest), indent=1, sort_keys=True) + "\n")
            part.chmod(0o644)
    except HarnessError as error:
        return Converted(variant.recipe, "failed", reason=error.one_line)
    return Converted(variant.recipe, "ok", file, manifest_file, variant, cached)


def file_name(model: str, recipe: str) -> str:
    """``model_recipe`` with only what file names may hold everywhere.

    Where that takes something away, a few digits of the recipe's hash keep two apart.
    """
    clean = re.sub(r"[^A-Za-z0-9_.-]+", "-", model).strip("-.")[:80] or "model"
    kept = re.sub(r"[^A-Za-z0-9_.=-]+", "-", recipe).strip("-")
    if kept != recipe:
        kept = f"{kept[:100].strip('-')}-{json_sha256(recipe)[:8]}"
    return f"{clean}_{kept}"
