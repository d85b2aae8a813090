"""Everything that jobs need before a device is touched: data, variants, references."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.cache import cache_dir, file_sha256, json_sha256, whole_file
from harness.datasets import SOURCES, load_dataset
from harness.devices import Blob
from harness.domain import Dataset, Model, Policy, Stage, Suite, Task, Variant
from harness.errors import ConversionError, HarnessError, ModelError
from harness.models import ResolvedModel
from harness.models.detection_outputs import detection_outputs
from harness.models.preprocess import fits
from harness.orchestrate.agreement import FloatOutputs, float_outputs
from harness.orchestrate.events import Listener, Preparing, VariantReady
from harness.orchestrate.plan import resolve
from harness.orchestrate.reducers import detections
from harness.orchestrate.tasks import check_output_choice, check_outputs, check_task
from harness.recipes import RECIPES
from harness.recipes.builder import BuildRequest, build, build_builtin, shorten
from harness.recipes.builtin import PREFIX, builtin_path

#: Changes when the same request would give another reference.
REFERENCE_VERSION = 1

#: The recipe that a model's other variants are compared with.
BASELINE = "float32"

#: Seconds the host may take to load a variant and run the output check's samples.
_VERIFY_TIMEOUT = 300


@dataclass(frozen=True, slots=True)
class Data:
    """A dataset as devices get it: one file of samples, and the labels that stay here."""

    samples: Blob
    count: int
    sample_shape: tuple[int, ...]
    labels: NDArray[Any]
    labels_sha256: str
    calibration: Path | None
    calibration_sha256: str | None
    calibration_count: int
    class_names: tuple[str, ...]
    truth: Mapping[str, Any]


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

#: A dataset by its name and the task that its labels serve.
DataKey = tuple[str, Task]


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
    used = dict.fromkeys(_data_key(models[name]) for name, _ in pairs)
    calibrating = {models[name].dataset for name, r in pairs if RECIPES[r].needs_calibration}
    data: dict[DataKey, Data] = {}
    resolved: dict[str, ResolvedModel] = {}
    prepared: dict[tuple[str, str], Ready | NotReady] = {}
    for key in used:
        name, task = key
        tell(Preparing(f"loading dataset {name}"))
        try:
            data[key] = load_data(
                suite.datasets[name], with_calibration=name in calibrating, task=task
            )
        except HarnessError as error:
            lost = [pair for pair in pairs if _data_key(models[pair[0]]) == key]
            prepared.update({pair: NotReady(error, Stage.READ) for pair in lost})
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
            _check_fit(models[name], data[_data_key(models[name])])
        except HarnessError as error:
            prepared.update(
                {pair: NotReady(error, Stage.READ) for pair in pairs if pair[0] == name}
            )
    requests = [
        _request(resolved[name], recipe, models[name], data[_data_key(models[name])])
        for name, recipe in pairs
        if (name, recipe) not in prepared
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
            prepared[name, recipe] = _verified(model, outcome, data[_data_key(model)], suite.policy)
        except HarnessError as error:
            prepared[name, recipe] = NotReady(error, Stage.VERIFY, outcome)

    build(requests, done, stopped)
    for found in resolved.values():
        if not stopped():
            prepared.update(_with_float_outputs(prepared, found, suite.policy, tell))
    return prepared


def _data_key(model: Model) -> DataKey:
    return model.dataset, model.task


def _with_float_outputs(
    prepared: Prepared, resolved: ResolvedModel, policy: Policy, tell: Listener
) -> dict[tuple[str, str], Ready]:
    """The model's ready variants with what they are compared with: float32's outputs."""
    name = resolved.model.name
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
        build([_request(resolved, BASELINE, model, data)], lambda _, made_, __: made.append(made_))
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
    check_task(model, data.truth)
    if model.labels and data.class_names and model.labels != data.class_names:
        raise ModelError(
            f"model {model.name}: its labels are not the classes of dataset {model.dataset}: "
            f"{', '.join(model.labels[:4])}... against {', '.join(data.class_names[:4])}...",
            hint="class indices follow the dataset's order; the model's outputs must do so too",
        )


def load_data(
    dataset: Dataset, *, with_calibration: bool, task: Task = Task.CLASSIFICATION
) -> Data:
    """Load a dataset and keep its samples as files named by their content."""
    loaded = load_dataset(dataset, SOURCES, task)
    samples = _keep(loaded.samples, f"dataset {dataset.name}")
    calibration = (
        _keep(loaded.calibration, "calibration")
        if with_calibration and len(loaded.calibration)
        else None
    )
    return Data(
        samples=samples,
        count=len(loaded.samples),
        sample_shape=loaded.samples.shape[1:],
        labels=loaded.labels,
        labels_sha256=_labels_sha256(loaded.labels, loaded.truth),
        calibration=calibration.path if calibration else None,
        calibration_sha256=calibration.sha256 if calibration else None,
        calibration_count=len(loaded.calibration),
        class_names=loaded.class_names,
        truth=loaded.truth,
    )


def _labels_sha256(labels: NDArray[Any], truth: Mapping[str, Any]) -> str:
    dtype = "<f8" if labels.dtype.kind == "f" else "<i8"
    digest = hashlib.sha256(labels.astype(dtype).tobytes())
    if truth:
        digest.update(json_sha256(truth).encode())
    return digest.hexdigest()


def _keep(array: NDArray[Any], what: str) -> Blob:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(array))
    digest = hashlib.sha256(head.getvalue())
    body = memoryview(array.data).cast("B")
    digest.update(body)
    path = cache_dir("host", "datasets") / f"{digest.hexdigest()}.npy"
    size = head.tell() + len(body)
    if not path.exists() or file_sha256(path) != digest.hexdigest():
        with whole_file(path) as part, open(part, "wb") as stream:
            stream.write(head.getvalue())
            stream.write(body)
    return Blob(path, digest.hexdigest(), size, what)


def _request(resolved: ResolvedModel, recipe: str, model: Model, data: Data) -> BuildRequest:
    return BuildRequest(
        model=resolved,
        recipe=recipe,
        calibration=data.calibration,
        calibration_sha256=data.calibration_sha256,
        calibration_samples=data.calibration_count,
        preprocessing=model.preprocessing,
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
    """The answer of ``harness.recipes.verify``, from the cache where it can be."""
    request = {
        "variant": str(variant.path),
        "samples": str(data.samples.path),
        "count": count,
        "output": None if model.task is Task.DETECTION else model.output or 0,
        "preprocessing": asdict(model.preprocessing),
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
