"""Everything that jobs need before a device is touched: data, variants, references."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.cache import cache_dir, json_sha256, whole_file
from harness.devices import Blob
from harness.domain import Model, Policy, Stage, Suite, Variant
from harness.errors import ConversionError, HarnessError, ModelError
from harness.models import ResolvedModel
from harness.models.preprocess import fits
from harness.orchestrate.data import Data, calibration_count, load_data
from harness.orchestrate.events import Converting, Listener, Preparing, VariantReady
from harness.orchestrate.plan import resolve
from harness.recipes import ChosenRecipe, parse_recipe
from harness.recipes.builder import build, build_builtin
from harness.recipes.builtin import PREFIX, builtin_path
from harness.recipes.process import shorten
from harness.recipes.request import BuildRequest

#: Changes when the same request would give another reference.
REFERENCE_VERSION = 1

#: Seconds the host may take to load a variant and run the output check's samples.
_VERIFY_TIMEOUT = 300


@dataclass(frozen=True, slots=True)
class Ready:
    """A variant that can go to devices.

    ``reference`` holds the host's outputs (n, ...) for the first samples, or ``None`` with
    the reason in ``reference_missing``. ``sweepable``: one input, fed by the dataset.
    ``crashes_host``: this machine's runtime died of it, so it must not run in this process.
    """

    model: Model
    variant: Variant
    blob: Blob
    data: Data
    reference: NDArray[Any] | None
    reference_missing: str
    sweepable: bool = True
    crashes_host: bool = False


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
    data: dict[str, Data] = {}
    resolved: dict[str, ResolvedModel] = {}
    prepared: dict[tuple[str, str], Ready | NotReady] = {}
    for name in dict.fromkeys(models[name].dataset for name, _ in pairs):
        tell(Preparing(f"loading dataset {name}"))
        of_dataset = [pair for pair in pairs if models[pair[0]].dataset == name]
        recipes = [chosen[text] for text in dict.fromkeys(text for _, text in of_dataset)]
        try:
            data[name] = load_data(suite.datasets[name], recipes, models[of_dataset[0][0]])
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
            models[name] = resolved[name].model
            _check_fit(models[name], data[models[name].dataset])
        except HarnessError as error:
            prepared.update(
                {pair: NotReady(error, Stage.READ) for pair in pairs if pair[0] == name}
            )
    requests = [
        build_request(resolved[name], chosen[text], suite, data[models[name].dataset])
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
            prepared[name, recipe] = _verified(model, outcome, data[model.dataset], suite.policy)
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
    return prepared


def _check_fit(model: Model, data: Data) -> None:
    """Refuse a preprocessing and labels that cannot belong to the dataset."""
    channels = data.sample_shape[-1]
    preprocessing = model.preprocessing
    for name, values in (("mean", preprocessing.mean), ("std", preprocessing.std)):
        if len(values) not in (1, channels):
            raise ModelError(
                f"model {model.name}: {name} has {len(values)} values, and samples of shape "
                f"{list(data.sample_shape)} have {channels} channels",
                hint="give one value, or one per channel",
            )
    if model.labels and data.class_names and model.labels != data.class_names:
        raise ModelError(
            f"model {model.name}: its labels are not the classes of dataset {model.dataset}: "
            f"{', '.join(model.labels[:4])}... against {', '.join(data.class_names[:4])}...",
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
    shape = made[0]["shape"]
    classes = int(np.prod(shape[1:])) if len(shape) > 1 else 1
    highest = int(data.labels.max())
    if accuracy and len([size for size in shape[1:] if size != 1]) > 1:
        raise ConversionError(
            f"{what}: its output {shape} is no list of classes, so top-1 says nothing",
            hint='measure = ["latency"] in the Policy times it without accuracy',
        )
    if accuracy and highest >= max(classes, 2):
        raise ConversionError(
            f"{what}: it has {classes} outputs, and dataset {model.dataset} has the label "
            f"{highest}",
            hint="the labels do not belong to this model",
        )
    if model.labels and classes > 1 and len(model.labels) != classes:
        raise ConversionError(
            f"{what}: it has {classes} outputs and {len(model.labels)} labels",
            hint="give one label per output, or none",
        )
    missing = "" if outputs is not None else "the host gave no outputs"
    return Ready(model, variant, blob, data, outputs, missing)


def _verify(
    model: Model, variant: Variant, data: Data, count: int
) -> tuple[dict[str, Any], NDArray[Any] | None]:
    """The answer of ``harness.recipes.verify``, from the cache where it can be."""
    request = {
        "variant": str(variant.path),
        "samples": str(data.samples.path),
        "count": count,
        "preprocessing": model.preprocessing.as_json(),
        "stateful": bool(variant.manifest.get("stateful")),
    }
    key = json_sha256(
        [
            REFERENCE_VERSION,
            variant.sha256,
            data.samples.sha256,
            count,
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
            [sys.executable, "-m", "harness.recipes.verify"],
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
