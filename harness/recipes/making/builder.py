"""Building variants: cached by what determines them, made two at a time."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.cache import cache_dir, file_sha256, whole_file
from harness.domain import Variant
from harness.errors import ConversionError, HarnessError, MissingToolError, NotDeployableError
from harness.models import metadata
from harness.recipes.making.builtin import BUILTINS, builtin_path
from harness.recipes.making.manifest import file_facts, manifest, refuse_broken_promise
from harness.recipes.making.messages import hint_for, shorten
from harness.recipes.making.process import TIMEOUT, Worker
from harness.recipes.making.request import BuildRequest, installed
from harness.simulation import read_graph

Outcome = Variant | HarnessError

#: ``(request, outcome, from_cache)`` as each variant is there.
Done = Callable[[BuildRequest, Outcome, bool], None]

#: ``(request, what a long conversion says of itself)``.
Progress = Callable[[BuildRequest, Mapping[str, Any]], None]


def cached(request: BuildRequest) -> Variant | None:
    """The variant from the cache, or ``None``; a damaged entry is made anew."""
    folder = cache_dir("host", "variants")
    manifest_file = folder / f"{request.key()}.json"
    try:
        found = json.loads(manifest_file.read_text())
        path = folder / f"{found['sha256']}.tflite"
        whole = path.stat().st_size == found["size_bytes"] and file_sha256(path) == found["sha256"]
        if not whole or found["key"] != request.key():
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if request.calibration and "calibration_findings" in found:
        found["calibration_findings"] = list(request.calibration.findings)  # those of today
    return _variant(request, found, path)


def build(
    requests: Sequence[BuildRequest],
    done: Done,
    stopped: Callable[[], bool] = lambda: False,
    progress: Progress = lambda request, said: None,
    *,
    timeout: float = TIMEOUT,
    memory_limit: int = 0,
) -> None:
    """Make every variant; ``done`` is called as each is there.

    Once ``stopped``, what is still being made is given up. ``timeout`` is in seconds
    without a sign of life, ``memory_limit`` in bytes per conversion (0: most of the machine).

    A conversion that fails gives a ``ConversionError`` as its outcome; the others go on.
    """
    missing: list[BuildRequest] = []
    for request in requests:
        if stopped():
            return
        if request.chosen.recipe.unchanged:
            done(request, _as_is(request), False)
        elif (found := cached(request)) is not None:
            done(request, found, True)
        else:
            missing.append(request)
    for training in (False, True):
        some = [item for item in missing if item.chosen.recipe.needs_training is training]
        if some and not stopped():
            with Worker(timeout, memory_limit, training=training) as worker:
                _Building(worker, some, done, progress).run(stopped)


class _Building:
    """The variants that have to be made, in one conversion process."""

    def __init__(
        self, worker: Worker, missing: Sequence[BuildRequest], done: Done, progress: Progress
    ) -> None:
        self._worker = worker
        self._missing = missing
        self._asked = {request.key() for request in missing}
        self._done = done
        self._progress = progress
        self._running: dict[int, BuildRequest] = {}
        self._waiting: dict[str, list[BuildRequest]] = defaultdict(list)

    def run(self, stopped: Callable[[], bool]) -> None:
        floats = {item.key(): item for item in self._missing if item.recipe == "float32"}
        for request in self._missing:
            if not request.needs_float_file:
                continue
            base = request.float_request()
            found = cached(base)
            if found is not None:
                self._submit(request, found.path)
            else:
                self._waiting[base.key()].append(request)
                floats.setdefault(base.key(), base)
        for request in floats.values():  # first, since others wait for them
            self._submit(request)
        for request in self._missing:
            if not request.needs_float_file and request.key() not in floats:
                self._submit(request)
        for number, message in self._worker.messages(stopped):
            request = self._running[number]
            if "progress" in message:
                self._progress(request, message["progress"])
            else:
                self._finished(request, _outcome(request, message, self._worker.part(number)))
            if stopped():
                return

    def _submit(self, request: BuildRequest, float_file: Path | None = None) -> None:
        by_quantizer = float_file is not None or not request.model.convertible
        number = self._worker.submit(_task(request, float_file), tensorflow=not by_quantizer)
        self._running[number] = request

    def _finished(self, request: BuildRequest, outcome: Outcome) -> None:
        if request.key() in self._asked:
            self._done(request, outcome, False)
        for dependent in self._waiting.pop(request.key(), ()):
            if isinstance(outcome, Variant):
                self._submit(dependent, outcome.path)
            else:
                self._done(dependent, outcome, False)


def build_builtin(name: str) -> Path:
    """The file of a built-in model, made in a conversion process unless it is there."""
    target = builtin_path(name)
    if target.exists():
        return target
    installed(("tensorflow", "tf-keras"))
    with Worker() as worker:
        number = worker.submit({"task": "build", "builtin": name})
        for _, message in worker.messages():
            if not message["ok"]:
                error = shorten(message["error"])
                raise ConversionError(
                    f"could not make the model {name}: {error}", hint=message.get("hint")
                )
        with whole_file(target) as part:
            shutil.copyfile(worker.part(number), part)
    return target


def known_builtins() -> Mapping[str, Any]:
    """Names of the built-in models."""
    return BUILTINS


def _task(request: BuildRequest, float_file: Path | None) -> dict[str, Any]:
    calibration, training = request.calibration, request.training
    return {
        "task": "convert",
        "source": request.model.model.source,
        "base": request.model.model.base,
        "format": request.model.format,
        "recipe": request.identity,
        "float_file": str(float_file) if float_file else None,
        "calibration": str(calibration.samples) if calibration else None,
        "training": [str(training.samples), str(training.labels) if training.labels else None]
        if training
        else None,
        "preprocessing": request.preprocessing.as_json(),
        "checkpoint": str(_checkpoint(request)),
        "tensorboard": str(request.tensorboard) if request.tensorboard else None,
    }


def _checkpoint(request: BuildRequest) -> Path:
    """Where a training that is ended early leaves what it has."""
    return cache_dir("host", "training") / request.key()


def _outcome(request: BuildRequest, answer: Mapping[str, Any], made: Path) -> Outcome:
    what = f"converting {request.model.model.name} with {request.recipe}"
    if not answer["ok"]:
        hint = answer.get("hint") or hint_for(answer["error"])
        if answer["kind"] == MissingToolError.__name__:
            return MissingToolError(f"{what}: {shorten(answer['error'])}", hint=hint)
        return ConversionError(f"{what} failed: {shorten(answer['error'])}", hint=hint)
    if answer.get("deployable") is False:
        return _experiment(request, answer)
    try:
        if request.says_something:
            made.write_bytes(_with_metadata(request, made))
        sha256 = file_sha256(made)
        folder = cache_dir("host", "variants")
        path = folder / f"{sha256}.tflite"
        facts = file_facts(made)
        refuse_broken_promise(request, made, what)
        found = {**manifest(request, answer), **facts, "sha256": sha256}
        with whole_file(path) as part:
            shutil.copyfile(made, part)
        with whole_file(folder / f"{request.key()}.json") as part:
            part.write_text(json.dumps(found, indent=1, sort_keys=True))
        shutil.rmtree(_checkpoint(request), ignore_errors=True)
    except HarnessError as error:
        return error
    except OSError as error:
        return ConversionError(
            f"{what}: cannot keep the variant: {error.strerror or error}",
            hint="free some space, or set HARNESS_CACHE to a folder on another disk",
        )
    return _variant(request, found, path)


def _experiment(request: BuildRequest, answer: Mapping[str, Any]) -> NotDeployableError:
    """What was learned from a training that has no file."""
    training = answer["training"]
    found = training["evaluation"]
    name = found.get("metric_name", "metric")
    return NotDeployableError(
        f"{request.model.model.name} with {request.recipe} has no file: {training['reason']}; "
        f"{name} {found.get('metric', float('nan')):.4f} on {found.get('samples')} held-out "
        f"samples (float {found.get('float_metric', float('nan')):.4f})",
        evaluation=training,
    )


def _with_metadata(request: BuildRequest, made: Path) -> bytes:
    """The variant with its preprocessing and labels, so that an app needs nothing beside it.

    Raises ``ConversionError`` where they cannot be this model's.
    """
    model, graph, content = request.model.model, read_graph(made), made.read_bytes()
    if model.labels and len(graph.outputs) == 1 and len(graph.outputs[0].shape) == 2:
        classes = graph.outputs[0].shape[1]
        if len(model.labels) != classes:
            raise ConversionError(
                f"model {model.name}: it has {classes} outputs and {len(model.labels)} labels",
                hint="give one label per output, one per line",
            )
    if graph.inputs and graph.inputs[0].shape:
        channels = graph.inputs[0].shape[-1]
        for name in ("mean", "std"):
            count = len(getattr(request.preprocessing, name))
            if count not in (1, channels):
                raise ConversionError(
                    f"model {model.name}: {name} has {count} values, its input {channels} channels",
                    hint="give one value, or one per channel",
                )
    return metadata.write(
        content,
        name=model.name,
        description=f"{model.name}, {request.identity}",
        preprocessing=request.preprocessing,
        labels=model.labels,
    )


def _as_is(request: BuildRequest) -> Outcome:
    path = request.model.path
    found = {
        **manifest(request, {}),
        **file_facts(path),
        "sha256": request.model.sha256,
    }
    return _variant(request, found, path)


def _variant(request: BuildRequest, found: Mapping[str, Any], path: Path) -> Variant:
    return Variant(
        request.model.model.name,
        request.recipe,
        found["sha256"],
        path,
        found["size_bytes"],
        found,
    )
