"""Everything that jobs need before a device is touched: data, variants, references."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.cache import cache_dir, json_sha256, whole_file
from harness.devices.blobs import Blob
from harness.domain import Model, Policy, Stage, Suite, Task, Variant
from harness.errors import ConversionError, HarnessError, ModelError
from harness.models import ResolvedModel
from harness.models.detection_outputs import detection_outputs
from harness.models.preprocess import fits
from harness.orchestrate.agreement import FloatOutputs, float_outputs
from harness.orchestrate.data import Data, DataKey, calibration_count, data_key, load_data
from harness.orchestrate.events import Converting, Listener, Preparing, VariantReady
from harness.orchestrate.plan import resolve
from harness.orchestrate.reducers import detections
from harness.orchestrate.tasks import check_output_choice, check_outputs, check_task
from harness.recipes import ChosenRecipe, parse_recipe
from harness.recipes.making.builder import build, build_builtin
from harness.recipes.making.builtin import PREFIX, builtin_path
from harness.recipes.making.messages import shorten
from harness.recipes.making.request import BuildRequest

#: Changes when the same request would give another reference.
REFERENCE_VERSION = 1

#: The recipe that a model's other variants are compared with.
BASELINE = "float32"

#: Seconds the host may take to load a variant and run the output check's samples.
_VERIFY_TIMEOUT = 300


@dataclass(frozen=True, slots=True)
class Ready:
    """A variant that can go to devices.

    ``reference`` holds the host's outputs (n, ...) for the first samples, or ``None`` with
    the reason in ``reference_missing``. ``sweepable``: one input, fed by the dataset.
    ``crashes_host``: this machine's runtime died of it, so it must not run in this process.
    ``float_outputs`` are those of the model's float32 variant, ``None`` with the reason in
    ``float_missing`` (empty where nobody asked for them).
    """

    model: Model
    variant: Variant
    blob: Blob
    data: Data
    reference: NDArray[Any] | None
    reference_missing: str
    sweepable: bool = True
    crashes_host: bool = False
    float_outputs: FloatOutputs | None = None
    float_missing: str = ""


@dataclass(frozen=True, slots=True)
class NotReady:
    """A variant that cannot go to devices: what went wrong, and at which stage."""

    error: HarnessError
    stage: Stage
    variant: Variant | None = None


Prepared = Mapping[tuple[str, str], Ready | NotReady]


def prepare(
    suite: Suite,
    needed: Sequence[tuple[str, str]],
    tell: Listener,
    stopped: Callable[[], bool] = lambda: False,
) -> Prepared:
    """Make ready every (model, recipe) pair; failures are values, not exceptions.

    Once ``stopped``, pairs that are not ready yet are left out.
    """
    pairs = list(dict.fromkeys(needed))
    models = {model.name: model for model in suite.models}
    chosen = {text: parse_recipe(text) for _, text in pairs}
    data: dict[DataKey, Data] = {}
    resolved: dict[str, ResolvedModel] = {}
    prepared: dict[tuple[str, str], Ready | NotReady] = {}
    for key in dict.fromkeys(data_key(models[name]) for name, _ in pairs):
        name = key[0]
        tell(Preparing(f"loading dataset {name}"))
        of_dataset = [pair for pair in pairs if data_key(models[pair[0]]) == key]
        recipes = [chosen[text] for text in dict.fromkeys(text for _, text in of_dataset)]
        try:
            data[key] = load_data(suite.datasets[name], recipes, models[of_dataset[0][0]])
        except HarnessError as error:
            prepared.update({pair: NotReady(error, Stage.READ) for pair in of_dataset})
    pairs = [pair for pair in pairs if pair not in prepared]
    for name in dict.fromkeys(name for name, _ in pairs):
        source = models[name].source
        try:
            if source.startswith(PREFIX):
                builtin = source.removeprefix(PREFIX)
                if not builtin_path(builtin).exists():
                    tell(Preparing(f"training the built-in model {builtin}"))
                build_builtin(builtin)
            resolved[name] = resolve(models[name])
            declared, models[name] = models[name].labels, resolved[name].model
            _check_fit(models[name], declared, data[data_key(models[name])])
        except HarnessError as error:
            prepared.update(
                {pair: NotReady(error, Stage.READ) for pair in pairs if pair[0] == name}
            )
    requests = [
        build_request(resolved[name], chosen[text], suite, data[data_key(models[name])])
        for name, text in pairs
        if (name, text) not in prepared
    ]
    if requests:
        tell(Preparing(f"preparing {len(requests)} variant(s)"))

    def done(request: BuildRequest, outcome: Variant | HarnessError, cached: bool) -> None:
        name, recipe = request.model.model.name, request.recipe
        if isinstance(outcome, HarnessError):
            prepared[name, recipe] = NotReady(outcome, Stage.CONVERT)
            tell(VariantReady(name, recipe, None, False, None, outcome.one_line))
            return
        seconds = outcome.manifest.get("seconds")
        tell(VariantReady(name, recipe, outcome.size_bytes, cached, seconds, None))
        model = models[name]
        try:
            prepared[name, recipe] = _verified(model, outcome, data[data_key(model)], suite.policy)
        except HarnessError as error:
            prepared[name, recipe] = NotReady(error, Stage.VERIFY, outcome)

    def progress(request: BuildRequest, said: Mapping[str, Any]) -> None:
        tell(Converting(request.model.model.name, request.recipe, said))

    build(
        requests,
        done,
        stopped,
        progress,
        timeout=suite.policy.convert_timeout,
        memory_limit=int(suite.policy.convert_memory_gb * 1e9),
    )
    for found in resolved.values():
        if not stopped():
            prepared.update(_with_float_outputs(prepared, found, suite, tell))
    return prepared


def _with_float_outputs(
    prepared: Prepared, resolved: ResolvedModel, suite: Suite, tell: Listener
) -> dict[tuple[str, str], Ready]:
    """The model's ready variants with what they are compared with: float32's outputs."""
    name, policy = resolved.model.name, suite.policy
    others = {
        pair: found
        for pair, found in prepared.items()
        if pair[0] == name and pair[1] != BASELINE and isinstance(found, Ready) and found.sweepable
    }
    unwanted = "accuracy" not in policy.measure or not policy.agreement_samples
    if unwanted or not others or not resolved.convertible:
        return {}
    model, data = next((found.model, found.data) for found in others.values())
    if model.task is Task.DETECTION:
        return {}
    tell(Preparing(f"float32 outputs of {name}, to compare its variants with"))
    found = prepared.get((name, BASELINE))
    variant: Variant | HarnessError | None = found.variant if isinstance(found, Ready) else None
    if variant is None:
        made: list[Variant | HarnessError] = []
        build(
            [build_request(resolved, parse_recipe(BASELINE), suite, data)],
            lambda _, made_, __: made.append(made_),
        )
        variant = made[0]
    outputs: FloatOutputs | str = (
        f"float32 cannot be made: {variant.one_line}"
        if isinstance(variant, HarnessError)
        else float_outputs(
            model, variant, data.samples.path, data.samples.sha256, data.count,
            policy.agreement_samples, _run_verify,
        )
    )  # fmt: skip
    if isinstance(outputs, str):
        return {pair: replace(ready, float_missing=outputs) for pair, ready in others.items()}
    return {pair: replace(ready, float_outputs=outputs) for pair, ready in others.items()}


def _check_fit(model: Model, declared: Sequence[str], data: Data) -> None:
    """Refuse a preprocessing and ``declared`` labels that cannot belong to the dataset.

    Labels that a file brings along may be worded otherwise.
    """
    channels = data.sample_shape[-1]
    preprocessing = model.preprocessing
    for name, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
        if len(values) not in (1, channels):
            raise ModelError(
                f"model {model.name}: {name} has {len(values)} values, and samples of shape "
                f"{list(data.sample_shape)} have {channels} channels",
                hint="give one value, or one per channel",
            )
    check_task(model, data.truth)
    if declared and data.class_names and tuple(declared) != data.class_names:
        raise ModelError(
            f"model {model.name}: its labels are not the classes of dataset {model.dataset}: "
            f"{', '.join(declared[:4])}... against {', '.join(data.class_names[:4])}...",
            hint="class indices follow the dataset's order; the model's outputs must do so too",
        )


def build_request(
    resolved: ResolvedModel, chosen: ChosenRecipe, suite: Suite, data: Data
) -> BuildRequest:
    """The request for one variant, with the splits that its recipe takes."""
    model = resolved.model
    count = calibration_count(chosen, suite.datasets[model.dataset])
    calibrates = chosen.recipe.calibrates(convertible=resolved.convertible)
    return BuildRequest(
        model=resolved,
        chosen=chosen,
        preprocessing=model.preprocessing,
        calibration=data.calibrations[count] if count and calibrates else None,
        training=data.training if chosen.recipe.needs_training else None,
    )


def _verified(model: Model, variant: Variant, data: Data, policy: Policy) -> Ready:
    """Load the variant on the host, apart; refuse data and labels that do not fit it."""
    blob = Blob(variant.path, variant.sha256, variant.size_bytes, f"variant {variant.recipe}")
    count = min(policy.output_checks, data.count)
    answer, outputs = _verify(model, variant, data, count)
    if not answer["ok"]:
        reason = shorten(answer["error"], 300)
        missing = f"the host cannot run it: {reason}"
        crashed = bool(answer.get("crashed"))
        return Ready(model, variant, blob, data, None, missing, crashes_host=crashed)
    inputs, made = answer["inputs"], answer["outputs"]
    what = f"model {model.name}"
    accuracy = "accuracy" in policy.measure
    if len(inputs) != 1:
        if accuracy:
            raise ConversionError(
                f"{what}: it has {len(inputs)} inputs, and a dataset feeds exactly one",
                hint='measure = ["latency"] in the Policy times it without a dataset',
            )
        return Ready(model, variant, blob, data, None, "it has several inputs", sweepable=False)
    if not fits(data.sample_shape, tuple(inputs[0]["shape"][1:])):
        raise ConversionError(
            f"{what}: dataset {model.dataset} has samples of shape {list(data.sample_shape)}, "
            f"the model takes {inputs[0]['shape'][1:]}",
            hint="use a dataset of that shape (image_folder: set image_size)",
        )
    check_output_choice(model, made, accuracy=accuracy)
    if model.task is Task.DETECTION:
        roles = detection_outputs(variant.path, made)
        outputs = None if outputs is None else detections(outputs, made, roles)
    elif accuracy:
        check_outputs(model, made, inputs[0]["shape"], data.labels, model.dataset)
    missing = "" if outputs is not None else "the host gave no outputs"
    return Ready(model, variant, blob, data, outputs, missing)


def _verify(
    model: Model, variant: Variant, data: Data, count: int
) -> tuple[dict[str, Any], NDArray[Any] | None]:
    """The answer of ``harness.recipes.making.verify``, from the cache where it can be."""
    request = {
        "variant": str(variant.path),
        "samples": str(data.samples.path),
        "count": count,
        "output": None if model.task is Task.DETECTION else model.output or 0,
        "preprocessing": model.preprocessing.as_json(),
        "stateful": bool(variant.manifest.get("stateful")),
    }
    key = json_sha256(
        [
            REFERENCE_VERSION,
            variant.sha256,
            data.samples.sha256,
            count,
            request["output"],
            request["preprocessing"],
            metadata.version("ai-edge-litert"),
        ]
    )
    folder = cache_dir("host", "references")
    kept, arrays = folder / f"{key}.json", folder / f"{key}.npy"
    try:
        answer: dict[str, Any] = json.loads(kept.read_text())
        if answer["ok"]:
            return answer, np.load(arrays, allow_pickle=False) if answer["reference"] else None
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        pass
    with whole_file(arrays) as part:
        answer = _run_verify({**request, "out": str(part)})
        outputs = (
            np.load(part, allow_pickle=False) if answer["ok"] and answer["reference"] else None
        )
        if not part.exists():
            part.touch()
    if answer["ok"]:
        with whole_file(kept) as part:
            part.write_text(json.dumps(answer))
    return answer, outputs


def _run_verify(request: dict[str, Any]) -> dict[str, Any]:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "harness.recipes.making.verify"],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=_VERIFY_TIMEOUT,
            start_new_session=True,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer
    except subprocess.TimeoutExpired:
        error = f"no output within {_VERIFY_TIMEOUT} s"
        return {"ok": False, "crashed": True, "error": error}
    except ValueError:
        code = done.returncode
        ending = f"signal {-code}" if code < 0 else f"exit code {code}"
        return {"ok": False, "crashed": True, "error": f"the runtime crashed ({ending})"}
