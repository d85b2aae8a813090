"""What a model's task asks of its outputs and labels, before and while a device runs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from numpy.typing import NDArray

from harness.domain import Model, Task
from harness.errors import ConversionError, ModelError
from harness.metrics import mean_average_precision

#: A tensor as the agent and the host's check describe it: name, shape, dtype, scale, zero_point.
Spec = Mapping[str, Any]

#: Integers too wide to be scores.
_INDICES = {"int32", "uint32", "int64", "uint64"}

#: Scores of more classes than this are no segmentation.
_MOST_CLASSES = 1024

#: More classes than this a map of classes cannot name.
MAP_CLASSES = 256

_TIMES_IT = 'measure = ["latency"] in the Policy times it without accuracy'


def outputs_asked(model: Model) -> list[int]:
    """Which outputs accuracy needs."""
    return [0, 1, 2, 3] if model.task is Task.DETECTION else [model.output or 0]


def check_output_choice(model: Model, outputs: Sequence[Spec], *, accuracy: bool) -> None:
    """Refuse an output that is not there, and a choice that nobody made."""
    count = len(outputs)
    if model.output is not None and model.output >= count:
        raise ConversionError(
            f"model {model.name}: it has {count} output(s), and output = {model.output} is "
            "not among them",
            hint="outputs count from 0",
        )
    if accuracy and count > 1 and model.output is None and model.task is not Task.DETECTION:
        shapes = ", ".join(str(list(output["shape"])) for output in outputs)
        raise ConversionError(
            f"model {model.name}: it has {count} outputs ({shapes}), and accuracy looks at one",
            hint="say which: output = 0 in the model's table, --output 0 for debug and search",
        )


def check_outputs(
    model: Model,
    outputs: Sequence[Spec],
    input_shape: Sequence[int],
    labels: NDArray[Any],
    dataset: str,
) -> None:
    """Refuse outputs and labels from which the task's metrics would be wrong numbers.

    Raises ``ConversionError`` that names the model.
    """
    what = f"model {model.name}"
    if model.task is Task.DETECTION:
        return  # told by the file, see ``models.detection_outputs``
    shape = [int(size) for size in outputs[model.output or 0]["shape"]]
    if model.task is Task.CLASSIFICATION:
        _check_classes(model, shape, labels, dataset)
    elif model.task is Task.SEGMENTATION:
        layout = map_layout(what, outputs[model.output or 0], labels.shape[1:])
        highest = int(labels[labels != 255].max())
        if highest >= layout.classes:
            raise ConversionError(
                f"{what}: it has {layout.classes} classes, and dataset {dataset} has the label "
                f"{highest}",
                hint="the labels do not belong to this model",
            )
    else:
        against = prod(labels.shape[1:])
        name = f"dataset {dataset} has {against} target(s) per sample"
        if model.task is not Task.REGRESSION:
            against = prod(input_shape[1:])
            name = f"its input has {against}"
        if prod(shape[1:]) != against:
            raise ConversionError(
                f"{what}: its output {shape} has {prod(shape[1:])} value(s), and {name}",
                hint="an anomaly detector and a reconstruction give back their input"
                if model.task is not Task.REGRESSION
                else "one target per value of the output",
            )


def _check_classes(model: Model, shape: list[int], labels: NDArray[Any], dataset: str) -> None:
    what = f"model {model.name}"
    classes = prod(shape[1:])
    if len([size for size in shape[1:] if size != 1]) > 1:
        raise ConversionError(
            f"{what}: its output {shape} is no list of classes, so top-1 says nothing",
            hint=f"another task may fit; {_TIMES_IT}",
        )
    highest = int(labels.max())
    if highest >= max(classes, 2):
        raise ConversionError(
            f"{what}: it has {classes} outputs, and dataset {dataset} has the label {highest}",
            hint="the labels do not belong to this model",
        )
    if model.labels and classes > 1 and len(model.labels) != classes:
        raise ConversionError(
            f"{what}: it has {classes} outputs and {len(model.labels)} labels",
            hint="give one label per output, or none",
        )


@dataclass(frozen=True, slots=True)
class MapLayout:
    """How an output tells each pixel's class.

    ``axis`` of the scores of ``classes`` classes, or ``None``: a map of class indices, or
    with ``binary`` of one score for the second of two classes.
    """

    classes: int
    axis: int | None = None
    binary: bool = False


def map_layout(what: str, output: Spec, wanted: tuple[int, ...]) -> MapLayout:
    """The layout of a segmentation's output for labels of (height, width) ``wanted``.

    (1, h, w, c) and (1, c, h, w) hold scores. (1, h, w) and (1, h, w, 1) hold class indices
    where they are integers without a scale, or wider than 16 bits; otherwise one score.
    Raises ``ConversionError`` that begins with ``what``.
    """
    shape = tuple(int(size) for size in output["shape"])
    for axis, rest in ((3, shape[1:3]), (1, shape[2:])):
        if len(shape) == 4 and 1 < shape[axis] <= _MOST_CLASSES and rest == wanted:
            return MapLayout(shape[axis], axis)
    if shape[1:] in (wanted, (*wanted, 1), (1, *wanted)):
        dtype = str(output["dtype"])
        indices = dtype in _INDICES or ("int" in dtype and not output["scale"])
        return MapLayout(MAP_CLASSES) if indices else MapLayout(2, binary=True)
    raise ConversionError(
        f"{what}: its output {list(shape)} does not fit label maps of {list(wanted)}",
        hint="resize the labels to the output: nearest neighbour, without mixing classes",
    )


def class_ids(model: Model, truth: Mapping[str, Any]) -> list[int | None]:
    """The category of each class index of a detector; ``None`` for one that is not in the data.

    By name where the model has labels. Without, class index i is category i + 1, or category
    i where there is a category 0; ids with gaps could mean either of two conventions and are
    refused (``ModelError``).
    """
    categories = truth["categories"]
    if model.labels:
        by_name = {item["name"].strip().lower(): item["id"] for item in categories}
        found = [by_name.get(label.strip().lower()) for label in model.labels]
        unknown = [item["name"] for item in categories if item["id"] not in found]
        if unknown:
            raise ModelError(
                f"model {model.name}: no label is called {unknown[0]!r}, a category of dataset "
                f"{model.dataset}",
                hint="labels are matched with the categories by name",
            )
        return found
    ids = [item["id"] for item in categories]
    first = 1 if ids[0] else 0
    if ids != list(range(first, first + len(ids))):
        raise ModelError(
            f"model {model.name}: the category ids of dataset {model.dataset} have gaps "
            f"({ids[0]} to {ids[-1]}, {len(ids)} of them), so class indices could mean two things",
            hint="give the model labels, one per class index; they are matched by name",
        )
    return list(ids)


def check_task(model: Model, truth: Mapping[str, Any]) -> None:
    """What can be refused before the model was converted or run."""
    if model.task is Task.DETECTION:
        mean_average_precision.require()
        class_ids(model, truth)
