"""Suites: TOML -> ``Suite``, and ``Suite`` -> JSON and back for the store."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from harness.config.devices import (
    device_files,
    device_from,
    find_device,
    refuse_runner,
    refuse_threads,
)
from harness.config.gates import gates_from
from harness.config.paths import profiles_dir
from harness.config.schema import DatasetFile, ModelFile, PolicyFile, SuiteFile
from harness.config.sources import SELF_CONTAINED, label_bytes
from harness.config.toml_source import TomlSource
from harness.domain import (
    Backend,
    Dataset,
    Device,
    Gate,
    Model,
    Policy,
    Preprocessing,
    Suite,
    Task,
)
from harness.errors import ConfigError, UsageError, suggest


@dataclass(frozen=True, slots=True)
class Known:
    """The names that the registries offer.

    ``recipe`` gives a recipe's shortest text and the splits that it needs, from text or a
    table; it raises ``UsageError``. ``reference`` tells a model's source that is no path.
    """

    recipes: Collection[str]
    recipe: Callable[[str | Mapping[str, Any]], tuple[str, frozenset[str]]]
    reference: Callable[[str], bool]
    transports: Collection[str]
    datasets: Collection[str]
    builtins: Collection[str]


def shipped_suites() -> dict[str, Path]:
    """Name -> file of the suites that come with the harness."""
    return {path.stem: path for path in sorted((profiles_dir() / "suites").glob("*.toml"))}


def load_suite(
    name: str | Path,
    known: Known,
    *,
    devices: Collection[str] = (),
    recipes: Collection[str] = (),
    policy: dict[str, Any] | None = None,
) -> Suite:
    """The suite of a file, or of a shipped name; everything is checked.

    ``devices`` and ``recipes`` replace the suite's own lists; ``policy`` overrides settings.
    Raises ``ConfigError`` with file and line.
    """
    source = TomlSource(suite_file(name))
    file = source.validate(SuiteFile)
    source.printable(("name",), file.name)
    for kind, names in (("model", file.model), ("dataset", file.dataset)):
        for key in names:
            source.printable((kind, key), key)
    datasets = {key: _dataset(source, key, value, known) for key, value in file.dataset.items()}
    models = tuple(_model(source, key, value, file, known) for key, value in file.model.items())
    chosen = _recipes(source, file, recipes, known)
    _need_splits(source, chosen, models, datasets)
    found = _devices(source, file, tuple(dict.fromkeys(devices)), known)
    return Suite(
        name=file.name,
        description=file.description,
        models=models,
        datasets=datasets,
        recipes=tuple(chosen),
        devices=found,
        backends=_backends(source, file, found),
        policy=_policy(source, file.policy, policy or {}),
        gates=_gates(source, file, models, chosen, found, known),
    )


def _gates(
    source: TomlSource,
    file: SuiteFile,
    models: tuple[Model, ...],
    recipes: Collection[str],
    devices: tuple[Device, ...],
    known: Known,
) -> tuple[Gate, ...]:
    """The gates for what is run: those of what was left out on the command line are left out."""
    declared = _recipes(source, file, (), known)
    names = {
        "models": [model.name for model in models],
        "recipes": list(dict.fromkeys([*declared, *recipes])),
        "devices": list(dict.fromkeys([*file.devices, *(item.name for item in devices)])),
    }
    run = {"recipes": set(recipes), "devices": {item.name for item in devices}}
    return tuple(
        gate
        for gate in gates_from(source, file.gates, names, lambda text: known.recipe(text)[0])
        if (not gate.recipes or run["recipes"] & set(gate.recipes))
        and (not gate.devices or run["devices"] & set(gate.devices))
    )


def suite_to_json(suite: Suite) -> dict[str, Any]:
    """A suite as JSON values."""
    value: dict[str, Any] = TypeAdapter(Suite).dump_python(suite, mode="json")
    return value


def suite_from_json(value: Any) -> Suite:
    """The suite of :func:`suite_to_json`; one kept before Policies adapted means what it did."""
    policy = value.get("policy") if isinstance(value, Mapping) else None
    if isinstance(policy, Mapping) and "precision" not in policy:
        then = {"precision": 0.0, "max_trials": policy.get("trials", 0), "steady_within": 0.0}
        value = {**value, "policy": {**policy, **then}}
    return TypeAdapter(Suite).validate_python(value)


def suite_file(name: str | Path) -> Path:
    """The file of a suite that is named by its path or, a shipped one, by its name."""
    path = Path(name)
    shipped = shipped_suites()
    if os.path.isfile(path):
        return path
    if str(name) in shipped:
        return shipped[str(name)]
    if os.path.isdir(path):
        raise ConfigError(f"{path} is a folder, not a suite")
    raise ConfigError(
        f"there is no suite {name}: no such file, and no shipped suite of that name",
        hint=suggest(str(name), shipped),
    )


def _dataset(source: TomlSource, name: str, file: DatasetFile, known: Known) -> Dataset:
    where = ("dataset", name)
    if file.source not in known.datasets:
        raise source.unknown((*where, "source"), "dataset source", file.source, known.datasets)
    paths = {
        key: source.file((*where, key), text) if (text := getattr(file, key)) else None
        for key in ("path", "calibration", "training", "annotations")
    }
    if paths["path"] is None and file.source not in SELF_CONTAINED:
        raise source.error(where, f"dataset {name} needs a path")
    if file.source != "coco" and (file.letterbox or paths["annotations"]):
        key = "letterbox" if file.letterbox else "annotations"
        raise source.error((*where, key), f"{key} is for datasets of the source coco")
    if file.source == "coco" and paths["annotations"] is None:
        raise source.error(where, f"dataset {name} needs annotations, a COCO file")
    for key in ("crop", "bgr"):
        if getattr(file, key) and file.source != "image_folder":
            raise source.error((*where, key), f"{key} is for datasets of the source image_folder")
    if file.source in ("image_folder", "coco") and file.image_size is None:
        raise source.error(where, f"dataset {name} needs image_size = [height, width]")
    return Dataset(
        name=name,
        source=file.source,
        path=paths["path"],
        calibration=paths["calibration"],
        training=paths["training"],
        samples_key=file.samples_key,
        labels_key=file.labels_key,
        image_size=file.image_size,
        limit=file.limit,
        calibration_samples=file.calibration_samples,
        training_samples=file.training_samples,
        annotations=paths["annotations"],
        letterbox=file.letterbox,
        crop=file.crop,
        bgr=file.bgr,
    )


def _model(source: TomlSource, name: str, file: ModelFile, suite: SuiteFile, known: Known) -> Model:
    where = ("model", name)
    if file.dataset not in suite.dataset:
        raise source.unknown((*where, "dataset"), "dataset", file.dataset, suite.dataset)
    _refuse_task(source, name, file, suite.dataset[file.dataset].source)
    if file.file.startswith("builtin:"):
        builtin = file.file.removeprefix("builtin:")
        if builtin not in known.builtins:
            raise source.unknown((*where, "file"), "built-in model", builtin, known.builtins)
        path = file.file
    elif known.reference(file.file):
        path = file.file
    else:
        path = str(source.file((*where, "file"), file.file))
    try:
        preprocessing = Preprocessing(
            file.preprocessing.scale,
            _several(file.preprocessing.mean),
            _several(file.preprocessing.std),
            file.preprocessing.colour,
            file.preprocessing.layout,
            file.preprocessing.resize,
        )
    except ValueError as error:
        raise source.error((*where, "preprocessing"), f"model {name}: {error}") from None
    if isinstance(file.labels, str):
        listed = source.file((*where, "labels"), file.labels)
        try:
            labels = tuple(label_bytes(listed).decode("utf-8-sig", "replace").splitlines())
        except OSError as error:
            raise source.error(
                (*where, "labels"), f"cannot read {listed}: {error.strerror}"
            ) from None
    else:
        labels = tuple(file.labels)
    base = str(source.path.parent.resolve()) if known.reference(file.file) else ""
    return Model(
        name,
        path,
        file.dataset,
        preprocessing,
        labels,
        base,
        preprocessing_given="preprocessing" in file.model_fields_set,
        task=file.task,
        output=file.output,
        canary=file.canary,
    )


def _refuse_task(source: TomlSource, name: str, file: ModelFile, dataset_source: str) -> None:
    """A detector needs annotated boxes, and nothing else knows what to do with them."""
    where, detects = ("model", name), file.task is Task.DETECTION
    if detects != (dataset_source == "coco"):
        raise source.error(
            (*where, "task"),
            f"model {name}: the task {file.task} and a dataset of the source {dataset_source} "
            "do not go together",
            hint='detection needs the source coco, and coco needs task = "detection"',
        )
    if detects and file.output is not None:
        raise source.error(
            (*where, "output"), f"model {name}: detection takes all outputs, so none is chosen"
        )


def _several(value: float | list[float]) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, list) else (value,)


def _recipes(
    source: TomlSource, file: SuiteFile, chosen: Collection[str], known: Known
) -> dict[str, frozenset[str]]:
    """Shortest text -> needed splits of every recipe, each once."""
    if chosen:
        return dict(known.recipe(text) for text in chosen)
    found = {}
    for position, value in enumerate(file.recipes):
        try:
            text, splits = known.recipe(value)
        except UsageError as error:
            raise source.error(("recipes", position), error.message, hint=error.hint) from None
        found[text] = splits
    return found


def _need_splits(
    source: TomlSource,
    chosen: Mapping[str, frozenset[str]],
    models: tuple[Model, ...],
    datasets: dict[str, Dataset],
) -> None:
    for model in models:
        dataset = datasets[model.dataset]
        if dataset.source in SELF_CONTAINED:
            continue
        for recipe, splits in chosen.items():
            if "training" in splits and dataset.training is None:
                raise source.error(
                    ("dataset", dataset.name),
                    f"the recipe {recipe} trains, and dataset {dataset.name} has no training "
                    "samples",
                    hint='add training = "..." with labelled samples that are not evaluated',
                )
            if "calibration" in splits and dataset.calibration is dataset.training is None:
                raise source.error(
                    ("dataset", dataset.name),
                    f"the recipe {recipe} calibrates, and dataset {dataset.name} has no "
                    "calibration samples",
                    hint='add calibration = "..." with samples that are not evaluated',
                )


def _devices(
    source: TomlSource, file: SuiteFile, chosen: tuple[str, ...], known: Known
) -> tuple[Device, ...]:
    profiles = device_files()
    found = []
    for position, name in enumerate(chosen or tuple(dict.fromkeys(file.devices))):
        if name in file.device:
            where = ("device", name)
            data = source.data["device"][name]
            found.append(device_from(source, name, data, where, known.transports))
        elif name in profiles:
            found.append(find_device(name, known.transports))
        elif chosen:
            raise UsageError(
                f"unknown device {name!r}", hint=suggest(name, [*file.device, *profiles])
            )
        else:
            raise source.unknown(("devices", position), "device", name, [*file.device, *profiles])
    return tuple(found)


def _backends(
    source: TomlSource, file: SuiteFile, devices: tuple[Device, ...]
) -> tuple[Backend, ...]:
    found = []
    for position, text in enumerate(file.backends):
        try:
            backend = Backend.parse(text)
        except ValueError as error:
            raise source.error(("backends", position), str(error)) from None
        lacking = [item for item in devices if backend.accelerator not in item.accelerators]
        if lacking:
            raise source.error(
                ("backends", position),
                f"device {lacking[0].name} does not offer {backend.accelerator}, only "
                + ", ".join(lacking[0].accelerators),
                hint="leave `backends` out to use each device's own default",
            )
        for device in devices:
            refuse_threads(source, ("backends", position), device.name, backend, device.simulation)
            refuse_runner(source, ("backends", position), device, backend)
        found.append(backend)
    return tuple(dict.fromkeys(found))


def _policy(source: TomlSource, file: PolicyFile, overrides: dict[str, Any]) -> Policy:
    declared = file.model_dump()
    declared |= {key: tuple(declared[key]) for key in ("measure", "scenarios")}
    named = file.model_fields_set
    if "max_trials" not in named:
        exact = "trials" in named and "precision" not in named
        declared["max_trials"] = file.trials if exact else max(file.trials, file.max_trials)
    if "trials" in overrides:
        overrides = {"max_trials": overrides["trials"], **overrides}
    if "scenarios" in file.model_fields_set and "scenarios" not in file.measure:
        raise source.error(
            ("policy", "scenarios"),
            "policy: scenarios are named and not measured",
            hint='add measure = ["latency", "accuracy", "scenarios"]',
        )
    try:
        Policy(**declared)
    except ValueError as error:
        text = str(error)
        key = text.split(" ", 1)[0]
        raise source.error(("policy", key), f"policy: {text}") from None
    try:
        return Policy(**{**declared, **overrides})
    except ValueError as error:
        raise UsageError(f"policy: {error}") from None
