"""Building variants: cached by what determines them, made two at a time."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from harness.cache import cache_dir, file_sha256, json_sha256, whole_file
from harness.domain import Preprocessing, Variant
from harness.errors import ConversionError, HarnessError, MissingExtraError
from harness.models import ResolvedModel
from harness.recipes import RECIPES
from harness.recipes.builtin import BUILTINS, builtin_path
from harness.simulation import read_graph

#: Seconds a conversion may take.
CONVERT_TIMEOUT = 900.0


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One variant to make. ``calibration`` is a ``.npy`` of stored samples, by its hash."""

    model: ResolvedModel
    recipe: str
    calibration: Path | None
    calibration_sha256: str | None
    calibration_samples: int
    preprocessing: Preprocessing

    def key(self) -> str:
        """The hash of everything that determines the variant's bytes."""
        recipe = RECIPES[self.recipe]
        value: dict[str, Any] = {
            "model": self.model.sha256,
            "recipe": [recipe.name, recipe.version],
        }
        if recipe.configure is not None:
            value["converter"] = converter_versions()
        if recipe.needs_calibration:
            value["calibration"] = self.calibration_sha256
            value["preprocessing"] = self.preprocessing.as_json()
        return json_sha256(value)


Outcome = Variant | HarnessError


def converter_versions() -> dict[str, str]:
    """Versions of what converts, read without importing it.

    Raises ``MissingExtraError`` where TensorFlow is not installed.
    """
    found = {}
    for name in ("tensorflow", "tf-keras"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            raise MissingExtraError(
                f"converting a model needs {name}, which is not installed",
                hint="pip install 'edge-harness[convert]'",
            ) from None
    return found


def cached(request: BuildRequest) -> Variant | None:
    """The variant from the cache, or ``None``; a damaged entry is made anew."""
    folder = cache_dir("host", "variants")
    manifest_file = folder / f"{request.key()}.json"
    try:
        manifest = json.loads(manifest_file.read_text())
        path = folder / f"{manifest['sha256']}.tflite"
        if path.stat().st_size != manifest["size_bytes"] or file_sha256(path) != manifest["sha256"]:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return _variant(request, manifest, path)


def build(
    requests: Sequence[BuildRequest],
    done: Callable[[BuildRequest, Outcome, bool], None],
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Make every variant; ``done(request, outcome, from_cache)`` as each is there.

    Once ``stopped``, what is still being made is given up.

    A conversion that fails gives a ``ConversionError`` as its outcome; the others go on.
    """
    missing: list[BuildRequest] = []
    for request in requests:
        if stopped():
            return
        if RECIPES[request.recipe].configure is None:
            done(request, _as_is(request), False)
            continue
        found = cached(request)
        if found is not None:
            done(request, found, True)
        else:
            missing.append(request)
    if not missing:
        return
    with Worker() as worker:
        waiting = {worker.submit(_task(request)): request for request in missing}
        for number, answer in worker.answers(len(waiting)):
            done(waiting[number], _outcome(waiting[number], answer, worker.part(number)), False)
            if stopped():
                return


def build_builtin(name: str) -> Path:
    """The file of a built-in model, made in a conversion process unless it is there."""
    target = builtin_path(name)
    if target.exists():
        return target
    converter_versions()
    with Worker() as worker:
        number = worker.submit({"task": "build", "builtin": name, "suffix": ".h5"})
        ((_, answer),) = worker.answers(1)
        if not answer["ok"]:
            raise ConversionError(f"could not make the model {name}: {shorten(answer['error'])}")
        with whole_file(target) as part:
            shutil.copyfile(worker.part(number), part)
    return target


def known_builtins() -> Mapping[str, Any]:
    """Names of the built-in models."""
    return BUILTINS


class Worker:
    """A conversion process and what is in flight in it; a context manager.

    It dies with the orchestrator: its stdin ends, and with it the process and its children.
    """

    def __init__(self) -> None:
        self._folder = cache_dir("host", "work", f"{os.getpid()}-{threading.get_ident()}")
        environment = dict(os.environ)
        environment.update(
            TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", TF_ENABLE_ONEDNN_OPTS="0"
        )
        self._log = open(self._folder / "worker.log", "wb")  # noqa: SIM115  closed in __exit__
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.recipes.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment,
            start_new_session=True,
        )
        self._count = 0

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def part(self, number: int) -> Path:
        """Where the task of this number leaves its file."""
        return self._folder / f"{number}.out"

    def submit(self, task: dict[str, Any]) -> int:
        """Hand a task over; returns its number."""
        assert self._process.stdin
        number = self._count
        self._count += 1
        request = {
            "id": number,
            "timeout": CONVERT_TIMEOUT,
            "out": str(self.part(number)),
            **task,
        }
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # answers() tells why the process has ended
        return number

    def answers(self, count: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """The last ``count`` answers as they come.

        When the process dies, there is one failure for each that is still missing.
        """
        assert self._process.stdout
        missing = set(range(self._count - count, self._count))
        for line in self._process.stdout:
            answer = json.loads(line)
            missing.discard(answer["id"])
            yield answer["id"], answer
            if not missing:
                return
        tail = (self._folder / "worker.log").read_text(errors="replace")[-2000:]
        for number in sorted(missing):
            error = f"the conversion process ended (code {self._process.wait()}): {tail}"
            yield number, {"ok": False, "kind": "Crash", "error": error}


def _task(request: BuildRequest) -> dict[str, Any]:
    return {
        "task": "convert",
        "source": str(request.model.path),
        "format": request.model.format,
        "recipe": request.recipe,
        "calibration": str(request.calibration) if request.calibration else None,
        "preprocessing": request.preprocessing.as_json(),
    }


def _outcome(request: BuildRequest, answer: Mapping[str, Any], made: Path) -> Outcome:
    what = f"converting {request.model.model.name} with {request.recipe}"
    if not answer["ok"]:
        return ConversionError(f"{what} failed: {shorten(answer['error'])}")
    try:
        sha256 = file_sha256(made)
        manifest = {
            "key": request.key(),
            "sha256": sha256,
            "size_bytes": made.stat().st_size,
            "model_sha256": request.model.sha256,
            "recipe": request.recipe,
            "recipe_version": RECIPES[request.recipe].version,
            "converter": converter_versions(),
            "calibration_sha256": request.calibration_sha256
            if RECIPES[request.recipe].needs_calibration
            else None,
            "calibration_samples": request.calibration_samples
            if RECIPES[request.recipe].needs_calibration
            else None,
            "preprocessing": request.preprocessing.as_json(),
            "seconds": answer["seconds"],
            "peak_memory_bytes": answer["peak_memory_bytes"],
        }
        folder = cache_dir("host", "variants")
        path = folder / f"{sha256}.tflite"
        with whole_file(path) as part:
            shutil.copyfile(made, part)
        manifest.update(_facts(path))
        if RECIPES[request.recipe].full_integer and not manifest["full_integer"]:
            return ConversionError(f"{what} left operators in float: {manifest['float_operators']}")
        with whole_file(folder / f"{request.key()}.json") as part:
            part.write_text(json.dumps(manifest, indent=1, sort_keys=True))
    except HarnessError as error:
        return error
    except OSError as error:
        return ConversionError(f"{what}: cannot keep the variant: {error.strerror or error}")
    return _variant(request, manifest, path)


def _as_is(request: BuildRequest) -> Outcome:
    path = request.model.path
    manifest = {
        "sha256": request.model.sha256,
        "size_bytes": path.stat().st_size,
        "model_sha256": request.model.sha256,
        "recipe": request.recipe,
        "preprocessing": request.preprocessing.as_json(),
        **_facts(path),
    }
    return _variant(request, manifest, path)


def _facts(path: Path) -> dict[str, Any]:
    graph = read_graph(path)
    floats = sorted({op.name for op in graph.operators if op.activation in {"float32", "float16"}})
    return {
        "operators": len(graph.operators),
        "macs": graph.macs,
        "full_integer": graph.full_integer,
        "stateful": graph.stateful,
        "integer16_activations": graph.integer16_activations,
        "float_operators": ", ".join(floats),
    }


def _variant(request: BuildRequest, manifest: Mapping[str, Any], path: Path) -> Variant:
    return Variant(
        request.model.model.name,
        request.recipe,
        manifest["sha256"],
        path,
        manifest["size_bytes"],
        manifest,
    )


def shorten(text: str, limit: int = 600) -> str:
    """What matters of a converter's message: no stack, no colour codes, no blank lines."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kept = [
        line
        for line in lines
        if not re.match(r'(File "|Traceback|at |\^|~|During handling|The above exception)', line)
    ]
    short = " ".join(kept or lines)
    return short if len(short) <= limit else short[: limit - 3] + "..."
