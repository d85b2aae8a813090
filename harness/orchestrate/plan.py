"""Suite -> jobs, and what they will cost."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.domain import Job, Model, Scenario, Suite
from harness.errors import ModelError, UsageError
from harness.models import ResolvedModel, resolve_model
from harness.models.tflite_file import preprocessing_of
from harness.recipes import RECIPES, ChosenRecipe, parse_recipe
from harness.recipes.making.builtin import PREFIX, builtin_path
from harness.recipes.making.request import installed, packages

#: Rough seconds for the estimate of a dry run: a conversion, an agent's start, one inference.
_CONVERSION_SECONDS = 4.0
_TENSORFLOW_SECONDS = 7.0
_AGENT_SECONDS = 0.6
_INFERENCE_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Plan:
    """Every job of a suite, in the order of the table."""

    suite: Suite
    jobs: tuple[Job, ...]

    def seconds(self, samples: int, conversions: int, *, most: bool = False) -> float:
        """A rough estimate of the run's duration on one device after the other.

        With the least that is measured, or the ``most``: no latency gets steady or precise.
        """
        policy = self.suite.policy
        per_job = 0.0
        if "latency" in policy.measure:
            warm_up, trials = policy.warmup_seconds, policy.trials
            if most and policy.steady_within:
                warm_up = max(warm_up, policy.warmup_max_seconds)
            trial = _AGENT_SECONDS + warm_up + policy.min_seconds
            if most and policy.adapts:
                within = int(policy.max_job_seconds / trial)
                trials = max(trials, min(policy.max_trials, within))
            per_job += trials * (trial + policy.cooldown_seconds)
        per_job += _AGENT_SECONDS
        if "accuracy" in policy.measure:
            per_job += samples * _INFERENCE_SECONDS
        if "scenarios" in policy.measure:
            for scenario in map(Scenario.parse, policy.scenarios):
                queries = scenario.min_queries / scenario.target_qps if scenario.target_qps else 0
                per_job += _AGENT_SECONDS + policy.warmup_seconds
                per_job += min(max(scenario.min_seconds, queries), scenario.max_seconds)
        if "operators" in policy.measure:
            per_job += _AGENT_SECONDS + policy.warmup_seconds
            per_job += policy.operator_runs * _INFERENCE_SECONDS
        loads = 0.0
        if "sustained" in policy.measure:
            loads += _AGENT_SECONDS + policy.sustained_minutes * 60
        if "energy" in policy.measure:
            loads += _AGENT_SECONDS + policy.idle_seconds + policy.energy_seconds
        making = _TENSORFLOW_SECONDS + conversions * _CONVERSION_SECONDS / 2 if conversions else 0
        real = [job for job in self.jobs if job.kind != "simulated"]
        # Those that passes.load.loadable says yes to.
        loaded = [job for job in real if job.kind == "real" and job.backend.runner == "agent"]
        total = making + per_job * len(real) + loads * len(loaded)
        return total + 0.3 * (len(self.jobs) - len(real))


def make_plan(suite: Suite) -> Plan:
    """The jobs of a suite: model by model, recipe by recipe, device by device.

    Raises ``UsageError`` for combinations that can never work: a recipe that the model's
    format does not allow, a missing converter, or a plan without any job.
    """
    jobs: list[Job] = []
    for model in suite.models:
        convertible = _convertible(model)
        for text in suite.recipes:
            if convertible is not None:
                refuse_misfit(model, parse_recipe(text), convertible=convertible)
            for device in suite.devices:
                for backend in suite.backends or (device.default_backend,):
                    jobs.append(Job(len(jobs), model.name, text, device.name, device.kind, backend))
    return Plan(suite, tuple(jobs))


def refuse_misfit(model: Model, chosen: ChosenRecipe, *, convertible: bool) -> None:
    """Refuse a recipe that the model's format does not allow, and a missing converter."""
    recipe = chosen.recipe
    if recipe.unchanged:
        if convertible:
            raise UsageError(
                f"model {model.name} is not a .tflite file: the recipe {recipe.name} deploys a "
                "file as it is",
                hint="use float32, int8 or another recipe that converts",
            )
        return
    if not convertible and recipe.quantize is None and recipe.finish is None:
        able = [name for name, item in RECIPES.items() if item.quantize or item.unchanged]
        raise UsageError(
            f"model {model.name} is a ready .tflite file: the recipe {recipe.name} cannot "
            "convert it",
            hint="recipes for it: " + ", ".join(able),
        )
    installed(packages(recipe, convertible=convertible))


def _convertible(model: Model) -> bool | None:
    """Whether the model's format can be converted from; ``None`` for a file that is damaged.

    A damaged file is no reason to refuse the suite: its jobs will fail, the others go on.
    """
    try:
        return model.source.startswith(PREFIX) or resolve_model(model).convertible
    except ModelError:
        return None


def resolve(model: Model) -> ResolvedModel:
    """The model, found and checked; what was left open of a ready file comes from its metadata.

    A model whose built-in source was made already is read from its file.
    """
    if model.source.startswith(PREFIX):
        path: Path = builtin_path(model.source.removeprefix(PREFIX))
        model = replace(model, source=str(path))
    found = resolve_model(model)
    if found.format == "tflite" and not (model.preprocessing_given and model.labels):
        own = preprocessing_of(found.path)
        if own is not None:
            model = replace(
                model,
                preprocessing=model.preprocessing if model.preprocessing_given else own[0],
                labels=model.labels or own[1],
            )
    return replace(found, model=model)


def round_order(jobs: Sequence[Job], index: int, seed: int) -> list[Job]:
    """The jobs of a lane in an order of round ``index``'s own, drawn from the seed.

    Interleaving keeps a slow drift of the device from favouring one variant. Each job's place is
    drawn for itself: that others have dropped out does not change the order of those that go on.
    """

    def place(job: Job) -> float:
        return random.Random(f"{seed}/{index}/{job.index}").random()  # noqa: S311  no secret

    return sorted(jobs, key=place)
